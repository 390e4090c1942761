# gap-replay: `make help` lists the targets.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CONFIG ?= configs/demo.yaml
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: help env demo test fast lint bench clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

env: $(READY) ## make the environment in .venv from requirements.lock

$(READY): requirements.lock pyproject.toml
	@echo "Installing the pinned environment into $(VENV): about 4 GB, a few minutes, once."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --no-deps --progress-bar off --disable-pip-version-check -q -r requirements.lock || \
	  { echo "If torch==2.13.0+cpu was not found: set PIP_EXTRA_INDEX_URL to PyTorch's CPU index (README, Try it)."; exit 1; }
	$(BIN)/python -m pip install --no-deps --no-build-isolation --disable-pip-version-check -q -e .
	@touch $@

demo: $(READY) ## run the whole way once on the sample corpus, from raw files to cards
	$(BIN)/gap run $(CONFIG)

test: lint ## lint, types, then all tests: the fast ones in parallel, then those that start an engine
	$(BIN)/python -m pytest -n 2 -m "not engine"
	$(BIN)/python -m pytest -m engine

fast: $(READY) ## only the tests that start no engine
	$(BIN)/python -m pytest -n 2 -m "not engine"

lint: $(READY) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY) ## print the figures of the benchmarks
	$(BIN)/python -m benchmarks.stages

clean: ## remove runs and caches; keeps .venv
	rm -rf runs .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
