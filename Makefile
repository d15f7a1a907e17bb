# `make run` alone installs, builds the starter index and serves; `make test` alone installs and tests.
# Settings: make run PORT=9000 BIND=0.0.0.0 INDEX=indexes/mine · make setup PYTHON=python3.11
PYTHON ?= python3
# Not HOST, which compilers and shells set for their own ends.
BIND ?= 127.0.0.1
PORT ?= 8000
STARTER := indexes/starter
INDEX ?= $(STARTER)
# Workers for the tests: a number, or 0 for one process.
TEST_WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
	--no-build-isolation --use-pep517
PIP_LOCKED := $(PIP_INSTALL) --require-hashes

# One stamp for each set of dependencies. They lie in .venv, so that deleting it starts afresh.
STAMP := $(VENV)/.installed
LOCKS-service := service
LOCKS-test := service test
LOCKS-tools := service test tools

.PHONY: help setup tools run test attack lint format lock index clean
.DELETE_ON_ERROR:

help:
	@echo "make setup   create $(VENV) and install what the service needs, by the digests of requirements/*.lock"
	@echo "make run     set up, build the starter index if there is none, serve on PORT ($(PORT))"
	@echo "make test    set up with the test tools, run every test"
	@echo "make attack  set up with the test tools, attack a service on loopback for a minute"
	@echo "make lint    set up with all tools; ruff, mypy, import contracts, words"
	@echo "make format  set up with all tools; let ruff rewrite the files"
	@echo "make lock    write requirements/*.lock anew, from pyproject.toml and constraints.txt"
	@echo "make clean   remove $(VENV) and the caches; indexes and training runs stay"

setup: $(STAMP)-service

tools: $(STAMP)-tools

# Every file is checked against its digest. The build tools come first, for distributions that come as source only. Where
# pip finds no CPU build of PyTorch, the default build is installed, with its CUDA libraries.
$(STAMP)-%: pyproject.toml $(wildcard requirements/*.lock)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: add PYTHON=python3.11")'
	@echo "Installing into $(VENV): about 1 GB the first time, which takes minutes."
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(PIP_LOCKED) -r requirements/build.lock
	$(PIP_LOCKED) $(LOCKS-$*:%=-r requirements/%.lock)
	$(PIP_LOCKED) -r requirements/torch-cpu.lock || $(PIP_LOCKED) -r requirements/torch-cuda.lock
	$(PIP_INSTALL) -e .
	@touch $@

# Built where there is none, and again when other weights or another starter library come with an update:
# the service refuses an index that other weights made.
$(STARTER)/CURRENT: $(wildcard model/pretrained/towers.* index/storage/manifest.py index/starter/*.py index/starter/*.toml index/starter/families/*.toml) | $(STAMP)-service
	$(BIN)/dd2d index build starter --out $(STARTER)

index: $(STARTER)/CURRENT

run: $(STAMP)-service $(if $(filter $(STARTER),$(INDEX)),index)
	$(BIN)/dd2d serve --index $(INDEX) --host $(BIND) --port $(PORT)

# One thread for each worker: two that each take every core are slower than one after the other.
test: $(STAMP)-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_WORKERS)

attack: $(STAMP)-test index
	$(BIN)/python -m bench.attack $(STARTER) --short

lint: $(STAMP)-tools
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/check_words.py

format: $(STAMP)-tools
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: $(STAMP)-tools
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python .ci/write_locks.py

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
