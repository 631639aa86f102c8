# make run    installs what it needs and runs the demo pipeline
# make test   installs what it needs and runs all tests
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
export PYTHONWARNINGS := ignore

.PHONY: help install run test test-fast lint docs lock clean

help:  ## Show what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(VENV)/.run  ## Create .venv and install the pipeline

$(VENV)/.run: requirements/run.txt scripts/install.sh
	@sh scripts/install.sh run

$(VENV)/.dev: requirements/dev.txt scripts/install.sh
	@sh scripts/install.sh dev

run: $(VENV)/.run  ## Train, distill, quantize, evaluate and push on the Chicago taxi data
	@test -f flywheel.yaml || $(BIN)/flywheel init demo:chicago-taxi
	@$(BIN)/flywheel run

test: $(VENV)/.dev lint  ## Run all tests
	@$(BIN)/python -m pytest

test-fast: $(VENV)/.dev  ## Run the tests that need no whole pipeline
	@$(BIN)/python -m pytest -m "not slow"

lint: $(VENV)/.dev  ## Check style and who imports whom
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

docs: $(VENV)/.dev  ## Write docs/configuration.md from the typed config
	@$(BIN)/python -m pipeline.configuration_doc > docs/configuration.md.new
	@mv docs/configuration.md.new docs/configuration.md

lock:  ## Resolve requirements/*.in into hash-locked requirements/*.txt
	@sh scripts/lock.sh

clean:  ## Remove what runs and installs left
	rm -rf $(VENV) .flywheel deployed build *.egg-info
