# Three tiers by cost: test (minutes), test-real (peers and servers), prove (by hand). Each sets up what it needs.
PYTHON ?= python3
BIN := .venv/bin
.PHONY: demo test check test-real prove clean

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev
	touch $@

demo: .venv/ready
	$(BIN)/hypocenter demo

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
