# gap-replay: `make help` lists the targets.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOCK ?= requirements.lock
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
SPACE_GB ?= 8
CONFIG ?= configs/demo.yaml
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: help env demo test fast lint soak bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-8s%s\n", $$1, $$2 }' Makefile

env: $(READY) ## make the environment in .venv from requirements.lock

$(READY): $(LOCK) pyproject.toml environment.sh
	@PYTHON='$(PYTHON)' VENV='$(VENV)' LOCK='$(LOCK)' TORCH_INDEX='$(TORCH_INDEX)' SPACE_GB='$(SPACE_GB)' sh environment.sh
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

soak: $(READY) ## kill the demo and training at random moments, fill their disk, ask a server by fifty clients: an hour
	$(BIN)/python -m pytest tests/soak

bench: $(READY) ## print the figures of the benchmarks
	$(BIN)/python -m benchmarks.stages

clean: ## remove runs and caches; keeps .venv
	rm -rf runs .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
