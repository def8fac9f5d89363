# Tiers by cost: check and test (minutes), test-real (what must be built or installed). Each sets up what it needs.
PYTHON ?= python3
BIN := .venv/bin
.PHONY: test check test-real clean

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev
	touch $@

test: .venv/ready
	$(BIN)/python -m pytest -n 2 tests --ignore tests/real

check: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test-real: .venv/ready
	$(BIN)/python -m pytest tests/real

clean:
	rm -rf .venv build dist out *.egg-info
