# make demo, make test, make lint: each makes its own environment in .venv first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: help demo docs weights bench test test-all test-faults lint format clean
help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	@touch $@

$(VENV)/installed-weights: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[weights]'
	@touch $@

demo: $(VENV)/installed  ## simulate, train, generate and measure: about 8 minutes on 2 cores
	$(BIN)/python cli.py pipeline demo --output_dir runs/demo

weights: $(VENV)/installed-weights  ## make weights NAME=depth_simulated: train weights of the repository again
	$(BIN)/python cli.py pipeline $(subst _,-,$(NAME))

docs: $(VENV)/installed-docs  ## the documentation as a site, in site/index.html
	$(BIN)/python -m mkdocs build --strict

bench: $(VENV)/installed  ## a short set of benchmarks: start-up, the micro-Doppler task, limits by hardware
	$(BIN)/python -m benchmarks startup --json runs/benchmarks/startup.json
	$(BIN)/python -m benchmarks microdoppler --json runs/benchmarks/microdoppler.json
	$(BIN)/python -m benchmarks roofline --json runs/benchmarks/roofline.json

test: $(VENV)/installed-dev  ## the fast tests, for daily work: under 4 minutes on 2 cores
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow and not faults"

test-all: $(VENV)/installed-dev  ## all tests
	$(BIN)/python -m pytest -n $(WORKERS) --durations=15 -m "not faults"

test-faults: $(VENV)/installed-dev  ## kills at random moments, full disks, damaged files: under 30 minutes
	$(BIN)/python -m pytest -m faults -n $(WORKERS)

lint: $(VENV)/installed-dev  ## style, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/installed-dev  ## reformat the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environment and caches; data and runs stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache *.egg-info
