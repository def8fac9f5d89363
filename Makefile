# Two commands for a newcomer: `make demo` and `make test`. Each target sets up what it needs in .venv.
# Tiers by cost: check and test (minutes), test-real (servers and browsers), prove (by hand, hours).
PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/python
# Tests start many short processes on few cores; two workers keep them within memory.
PYTEST := $(RUN) -m pytest -n 2
.PHONY: demo test check test-real prove notebooks docs system clean

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hypocenter needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@echo 'setting up .venv with the pinned packages (a minute or two, once)'
	@$(PYTHON) -m venv .venv
	@$(RUN) -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(RUN) -m pip install --quiet --constraint constraints.txt --editable . --group dev
	@touch $@

demo: .venv/ready
	@$(BIN)/hypocenter demo --out out/demo

test: .venv/ready
	$(PYTEST) tests --ignore tests/real --ignore tests/proof

check: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright

# What the tests of real components need from the system; where that is not allowed the tests say what could not run.
system:
	@.ci/system-packages

test-real: .venv/ready system
	$(PYTEST) tests/real tests/proof

# The full size of every proof; test-real runs each at a twentieth.
prove: .venv/ready system
	mkdir -p docs/proof
	HYPOCENTER_PROOF_SCALE=1 $(RUN) -m pytest tests/proof tests/real/kubernetes_cluster -s --timeout 0 2>&1 | tee docs/proof/$$(date -u +%F).txt

notebooks: .venv/ready
	$(RUN) -m pytest tests/test_notebooks.py

# The reference of the API, from the docstrings: out/api/hypocenter.html.
docs: .venv/ready
	$(RUN) -m pdoc --docformat numpy --output-directory out/api $$(cat docs/reference.txt)

clean:
	rm -rf .venv build dist out *.egg-info
