# Every target does the set-up that it needs; `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON := .venv/bin/python
WORKERS ?= 2
TARGET ?= upstream
ARGS ?=

.PHONY: help setup upstream run test unit lint format bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: ## install what is missing (Debian packages, virtual environment)
	@ci/setup.sh

upstream: ## the same, and real Docker from Debian's packages
	@ci/setup.sh upstream

run: upstream ## the conformance suite (TARGET=upstream, WORKERS=2, ARGS for pytest)
	$(PYTHON) -m pytest conformance/ --target $(TARGET) -n $(WORKERS) $(ARGS)

unit: upstream ## the unit tests alone
	$(PYTHON) -m pytest tests/ -n $(WORKERS) $(ARGS)

test: lint unit run ## all tests: lint, unit tests, conformance suite

lint: setup ## format, style, types, walls between packages, scenarios
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	.venv/bin/lint-imports
	.venv/bin/sixhops lint

format: setup ## let ruff rewrite the code
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

bench: upstream ## measure: harness overhead and collection
	$(PYTHON) -m benchmarks.harness

clean: ## remove what the build and the runs left in this checkout
	rm -rf .venv results .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
