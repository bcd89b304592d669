PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
MODELS := pca,base,improved,improved_skip

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

# The environment is made anew when pyproject.toml changes; VENV=FOLDER puts it elsewhere.
$(READY): pyproject.toml
	@test ! -e $(VENV) || test -f $(VENV)/pyvenv.cfg || { echo "VENV=$(VENV) is not a virtual environment; it stays as it is"; exit 1; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --progress-bar on --editable '.[dev]'
	touch $@

demo: $(READY) ## three autoencoders and a linear floor on real MNIST: one table, one picture
	$(BIN)/python -m caelab.train -m model=$(MODELS) dataset=mnist trainer.max_epochs=3
	@echo "Next: $(BIN)/caelab-train --help, or $(BIN)/caelab-train model=improved_skip loss=l1_mse loss.alpha=0.1 dataset=cifar10"

test: $(READY) ## all tests
	$(BIN)/python -m pytest

lint: $(READY) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY) ## training through the command line against a bare loop, paired
	$(BIN)/python -m caelab.bench

clean: ## remove the environment and caches; runs and data stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
