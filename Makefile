# All targets run in .venv, which the first one creates with $(PYTHON): `make PYTHON=python3.12 test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest
PARALLEL := -n auto --maxprocesses 4

.PHONY: help quickstart test test-lowest test-kills test-kills-study test-spaces test-gpu coverage docs docs-links quality style wheel-test clean

help:            ## list the targets
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

quickstart: $(VENV)/installed  ## train a model on handwritten digits, sample, evaluate, save and reload it
	$(BIN)/gae-hub quickstart

test: $(VENV)/installed-dev  ## run all tests
	-$(BIN)/python tests/peers/transformers_suite.py
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL)

test-lowest: $(LOWEST)/installed  ## run the fast tests with the lowest versions that pyproject.toml declares
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest $(PARALLEL) -m "not slow and not gpu"

test-kills: $(VENV)/installed-dev  ## kill training and fits 200 times and compare their weights; about an hour, continues where it stopped
	$(BIN)/python tests/kill_commands.py build/kills

test-kills-study: $(VENV)/installed-dev  ## kill a study at random moments and compare its results; continues where it stopped
	$(BIN)/python tests/kill_studies.py build/kill-studies

test-spaces: $(VENV)/installed-dev  ## measure the Space of a model under load, and start it in an empty environment
	$(BIN)/python -m gae_hub.cli quickstart --output_dir build/space-model
	$(BIN)/python -m gae_hub.cli space build/space-model --output_dir build/space
	$(BIN)/python tests/space_frames.py build/space
	$(BIN)/python tests/space_load.py build/space
	$(BIN)/python tests/space_environment.py build/space

test-gpu: $(VENV)/installed-dev  ## run the tests that need a CUDA GPU; without one they are skipped and counted
	$(BIN)/python -m pytest -m gpu -rs

coverage: $(VENV)/installed-dev  ## run all tests and report the coverage of src/
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) --cov=gae_hub --cov-report=term-missing:skip-covered --cov-fail-under=95

docs: $(VENV)/installed-dev  ## build the site into build/docs, run the snippets of README and docs/, check tables and links
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	$(BIN)/python -m pytest tests/docs tests/test_docs.py tests/test_docstrings.py tests/test_benchmarks.py tests/metrics/test_metrics_page.py

docs-links: $(VENV)/installed-dev  ## check that the links to other sites respond; needs a network
	$(BIN)/python -m sphinx -q -b linkcheck docs build/linkcheck

quality: $(VENV)/installed-dev  ## check style, types and spelling, as CI does
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/typos .
	$(BIN)/basedpyright
	$(BIN)/python scripts/check_snippets.py

style: $(VENV)/installed-dev  ## fix the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel-test:      ## build a wheel, install it into an empty environment, run the quickstart
	rm -rf build/wheel-test && $(PYTHON) -m venv build/wheel-test/venv
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir build/wheel-test .
	build/wheel-test/venv/bin/pip install --quiet --constraint constraints.txt build/wheel-test/*.whl
	cd build/wheel-test && venv/bin/gae-hub quickstart

clean:           ## delete the environments, builds and caches
	rm -rf $(VENV) $(LOWEST) build .pytest_cache .ruff_cache .coverage
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

$(LOWEST)/installed: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/pip install --quiet --disable-pip-version-check --constraint constraints-lowest.txt --editable '.[test]'
	touch $@
