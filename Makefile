PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
MADE := $(VENV)/.caelab
READY := $(VENV)/.ready
TOOLS := $(VENV)/.tools
BUDGET ?= full
PART ?= 1
MODELS := pca,base,improved,improved_skip

.DEFAULT_GOAL := help
.PHONY: help demo reproduce results test slow lint check survive mutants commands figures docs lessons bench gpu-check clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 16

define remove-environment
@test ! -e $(VENV) || test -f $(MADE) || test -f $(READY) || { echo "VENV=$(VENV) is no environment that make has made; it stays as it is"; exit 1; }
rm -rf $(VENV)
endef

# The environment is made anew when pyproject.toml changes; VENV=FOLDER puts it elsewhere.
$(READY): pyproject.toml
	$(remove-environment)
	mkdir -p $(VENV) && touch $(MADE)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --progress-bar on --editable '.[runs]'
	touch $@

# The same environment, with every extra and what the tests and linters need.
$(TOOLS): $(READY)
	$(BIN)/python -m pip install --progress-bar on --editable '.[dev]'
	touch $@

demo: $(READY) ## three autoencoders and a linear floor on real MNIST: one table, one picture
	$(BIN)/python -m caelab.train -m model=$(MODELS) dataset=mnist trainer.max_epochs=3
	@echo "Next: $(BIN)/caelab train --help, or $(BIN)/caelab train model=improved_skip loss=l1_mse loss.alpha=0.1 dataset=cifar10"

# A failed run does not keep the report from being written; the exit status tells of it.
reproduce: $(TOOLS) ## every study whose data are at hand, then the report; BUDGET=quick takes minutes
	$(BIN)/caelab study all --budget $(BUDGET); status=$$?; \
	$(BIN)/caelab report all --budget $(BUDGET) --out report/$(BUDGET) && exit $$status

# Each report says the command that wrote it.
results: $(READY) ## draw the reports in docs/results again from their records
	sed -n 's|.*Written by `\(caelab report [^`]*\)`.*|$(BIN)/\1|p' docs/results/index.md docs/results/*/index.md | sh -ex

test: $(TOOLS) ## the tests, but those that take longest
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal -m "not slow"

slow: $(TOOLS) ## the tests that take longest: processes killed, launchers, several devices, all studies
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal -m slow

lint: $(TOOLS) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

survive: $(TOOLS) ## kill before hundreds of changes on the disk, cut the power, start again: nothing may be lost
	$(BIN)/python tests/tools/survive.py --part $(PART)

mutants: $(TOOLS) ## break the source in one place after another: a test must notice each
	$(BIN)/python tests/tools/mutants.py

commands: $(TOOLS) ## each command of README.md and docs/, on tiny data, and once with a mistake
	$(BIN)/python tests/tools/commands.py

figures: $(TOOLS) ## the figures and drawings of README.md and docs/, made anew
	$(BIN)/python tests/tools/pages.py
	$(BIN)/python tests/tools/drawings.py
	$(BIN)/python tests/tools/crossings.py

docs: $(TOOLS) ## the site, in build/site/index.html; a warning is an error
	$(BIN)/python -m sphinx --fail-on-warning -q -b html docs build/site

lessons: $(TOOLS) ## the notebooks of docs/lessons, from their first cell to their last
	$(BIN)/python tests/tools/lessons.py

# Of the kills a half, so that it stays below 40 minutes on two cores.
check: PART = 0.5
check: slow survive mutants commands docs lessons ## what takes longer than the tests

bench: $(READY) ## training through the command line against a bare loop, paired
	$(BIN)/caelab bench

gpu-check: $(TOOLS) ## what only a GPU can show: tests, speed, sweeps, in twelve minutes; data must be at hand
	$(BIN)/python tests/tools/gpu_check.py

clean: ## remove the environment and caches; runs, reports and data stay
	$(remove-environment)
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
