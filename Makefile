# Every target sets up what it needs; nothing is asked for but Python 3.11 or newer and make.
PYTHON ?= python3
VENV ?= .venv
OUT ?= demo-report
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test coverage test-slow lint format types doctest notebooks bench bench-smoke wheel-check clean

help:
	@echo 'make demo         train a small model on real data, audit it, leave $(OUT)/report.html'
	@echo 'make test         the test suite'
	@echo 'make coverage     the test suite with line coverage'
	@echo 'make test-slow    the long statistical tests'
	@echo 'make lint         formatting, ruff, notebooks stored without outputs'
	@echo 'make types        pyright'
	@echo 'make doctest      the examples in the docstrings and in README.md'
	@echo 'make notebooks    execute the notebooks at a small size'
	@echo 'make bench        benchmarks; rows go to bench/results'
	@echo 'make wheel-check  build the wheel, install it into an empty environment, use it from elsewhere'

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'mace-jax needs Python 3.11 or newer; "$(PYTHON)" is'; $(PYTHON) --version; \
	  echo 'Name a newer one, for example: make demo PYTHON=python3.11'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.installed: pyproject.toml | $(VENV)/.python
	@echo 'Installing mace-jax into $(VENV) (about 1 GB, once) ...'
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group test
	@touch $@

$(VENV)/.lint: pyproject.toml | $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group lint
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/mace-jax demo --out '$(OUT)'
	@echo 'The report lies in $(abspath $(OUT))/report.html'

test: $(VENV)/.installed $(VENV)/.test
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

coverage: $(VENV)/.installed $(VENV)/.test
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m 'not gpu' --cov --cov-report=term

test-slow: $(VENV)/.installed $(VENV)/.test
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.installed $(VENV)/.lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/nbstripout --verify notebooks/*.ipynb

format: $(VENV)/.installed $(VENV)/.lint
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/nbstripout notebooks/*.ipynb

types: $(VENV)/.installed $(VENV)/.lint
	$(BIN)/pyright --pythonpath $(BIN)/python

doctest: $(VENV)/.installed $(VENV)/.test
	$(BIN)/python -m pytest --doctest-modules --doctest-glob='README.md' mace_jax kernels/mace_jax_kernels README.md

notebooks: $(VENV)/.installed $(VENV)/.test
	$(BIN)/python -m pytest -m '' tests/test_notebooks.py

bench: $(VENV)/.installed
	set -e; for file in bench/bench_*.py; do $(BIN)/python -m bench.$$(basename $$file .py); done

bench-smoke: $(VENV)/.installed
	set -e; for file in bench/bench_*.py; do $(BIN)/python -m bench.$$(basename $$file .py) --smoke; done

wheel-check: $(VENV)/.installed $(VENV)/.lint
	.ci/wheel-check $(BIN)/python

clean:
	rm -rf $(VENV) build dist '$(OUT)'
