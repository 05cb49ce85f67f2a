# All targets run in .venv, which the first one creates with $(PYTHON): `make PYTHON=python3.12 test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PARALLEL := -n auto --maxprocesses 4

.PHONY: help quickstart test coverage quality style wheel-test clean

help:            ## list the targets
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

quickstart: $(VENV)/installed  ## train a model on handwritten digits, sample, evaluate, save and reload it
	$(BIN)/gae-hub quickstart

test: $(VENV)/installed-dev  ## run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL)

coverage: $(VENV)/installed-dev  ## run all tests and report the coverage of src/
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) --cov=gae_hub --cov-report=term-missing:skip-covered --cov-fail-under=95

quality: $(VENV)/installed-dev  ## check the style, as CI does
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

style: $(VENV)/installed-dev  ## fix the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel-test:      ## build a wheel, install it into an empty environment, run the quickstart
	rm -rf build/wheel-test && $(PYTHON) -m venv build/wheel-test/venv
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir build/wheel-test .
	build/wheel-test/venv/bin/pip install --quiet --constraint constraints.txt build/wheel-test/*.whl
	cd build/wheel-test && venv/bin/gae-hub quickstart

clean:           ## delete the environment, builds and caches
	rm -rf $(VENV) build .pytest_cache .ruff_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@echo "creating $(VENV); installing takes a few minutes"
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@ $(VENV)/installed
