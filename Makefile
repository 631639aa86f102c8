# make run    installs what it needs and runs the demo pipeline
# make test   installs what it needs and runs all tests
# Which stack (today's TFX or yesterday's): see docs/stacks.md.
.DEFAULT_GOAL := help
# STACK=modern or STACK=legacy takes that stack, in a virtual environment beside the usual one.
VENV := .venv$(if $(STACK),-$(STACK))
export STACK
BIN := $(VENV)/bin
export PYTHONWARNINGS := ignore

.PHONY: help install run ui loop test test-fast test-image lint docs lock edge image clean

help:  ## Show what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(VENV)/.run  ## Create .venv and install the pipeline

SETUP := $(wildcard requirements/*.txt) scripts/choose_stack.sh scripts/install.sh

$(VENV)/.run: $(SETUP)
	@sh scripts/install.sh $(VENV) run

$(VENV)/.dev: $(SETUP)
	@sh scripts/install.sh $(VENV) dev

run: $(VENV)/.run  ## Train, distill, quantize, evaluate and push on the Chicago taxi data
	@test -f flywheel.yaml || $(BIN)/flywheel init demo:chicago-taxi
	@$(BIN)/flywheel run

ui: $(VENV)/.run  ## Open the control center: run, see and decide everything in the browser
	@test -f flywheel.yaml || $(BIN)/flywheel init demo:chicago-taxi
	@$(BIN)/flywheel ui

loop: $(VENV)/.run  ## Show the wheel turn: serve, drift, retrain, serve the new version
	@$(BIN)/flywheel functions loop

# Tests wait for servers and processes as much as they compute: two at a time suit two cores.
WORKERS := 2
test: $(VENV)/.dev lint  ## Run all tests
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-fast: $(VENV)/.dev  ## Run the tests that need no whole pipeline
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow"

test-image: $(VENV)/.dev  ## Build the image and run the pipeline in it (needs docker, debootstrap, root)
	@FLYWHEEL_IMAGE=build $(BIN)/python -m pytest tests/deploy

lint: $(VENV)/.dev  ## Check style and who imports whom
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

docs: $(VENV)/.dev  ## Write docs/configuration.md from the typed config
	@$(BIN)/python -m pipeline.configuration_doc > docs/configuration.md.new
	@mv docs/configuration.md.new docs/configuration.md

lock:  ## Lock the newest versions of both stacks, and list what moved (KEEP=1: only what is needed)
	@sh scripts/lock.sh

edge:  ## Install ai-edge-quantizer in an environment of its own, for its recipes
	@sh scripts/edge.sh install .venv-edge $(VENV)

image:  ## Build the image flywheel:modern (STACK=legacy BASE=python:3.10-slim-bookworm: the other)
	docker build -f deploy/Dockerfile -t flywheel:$(or $(STACK),modern) \
		$(if $(STACK),--build-arg STACK=$(STACK)) $(if $(BASE),--build-arg BASE=$(BASE)) .

clean:  ## Remove what runs and installs left
	rm -rf .venv .venv-* .flywheel deployed build *.egg-info
