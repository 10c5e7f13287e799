# Every target does the set-up that it needs; `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON := .venv/bin/python
WORKERS ?= 2
TARGET ?= reference
ARGS ?=
MIXES ?=
REPORT ?= report

# Real Docker is installed only where a target has one of its programs in it.
SETUP = $(if $(findstring upstream,$(TARGET)),upstream,setup)

.PHONY: help setup upstream run test unit mixes vm matrix lint format docs bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: ## install what is missing (Debian packages, virtual environment)
	@ci/setup.sh

upstream: ## the same, and real Docker from Debian's packages
	@ci/setup.sh upstream

run: ## the conformance suite, with a report (TARGET=reference, WORKERS=2, REPORT=report, ARGS for pytest)
	@$(MAKE) --no-print-directory $(SETUP)
	$(PYTHON) -m pytest conformance/ --target $(TARGET) -n $(WORKERS) $(if $(REPORT),--report $(REPORT)) $(ARGS)

unit: upstream ## the unit tests alone
	$(PYTHON) -m pytest tests/ -n $(WORKERS) $(ARGS)

test: lint unit ## all tests: lint, unit tests, the suite on the reference stack and on real Docker
	@$(MAKE) --no-print-directory run TARGET=reference REPORT=
	@$(MAKE) --no-print-directory run TARGET=upstream REPORT=

mixes: upstream ## the suite on every stack in which our programs stand beside real ones (MIXES=full for all of it)
	@PYTHON=$(PYTHON) WORKERS=$(WORKERS) ci/mixes.sh $(MIXES) $(ARGS)

vm: setup ## some of the suite against a Debian guest in QEMU: systemd, control groups v2, real Docker and ours
	$(PYTHON) -m ci.vm all $(ARGS)

matrix: upstream ## the suite on the reference, on real Docker and on other releases of it (ci/engines/build makes them)
	ci/engines/build dockerd-26 dockerd-28
	.venv/bin/sixhops matrix -n $(WORKERS) $(ARGS)

lint: setup ## format, style, types, walls between packages, scenarios
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	.venv/bin/lint-imports
	.venv/bin/sixhops lint

format: setup ## let ruff rewrite the code
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

docs: setup ## the documentation as a site in build/docs; a warning fails
	$(PYTHON) -m sphinx -W --keep-going -q -b html -d build/doctrees docs build/docs
	@echo "documentation: build/docs/index.html"

bench: upstream ## measure, side by side with real Docker: harness, taps, run path, tasks, runtime, registry
	$(PYTHON) -m benchmarks.harness
	$(PYTHON) -m benchmarks.taps
	$(PYTHON) -m benchmarks.run_path
	$(PYTHON) -m benchmarks.pull
	-$(PYTHON) -m benchmarks.tasks
	$(PYTHON) -m benchmarks.runtime
	$(PYTHON) -m benchmarks.registry

clean: ## remove what the build and the runs left in this checkout
	rm -rf .venv results report matrix vm build docs/generated .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
