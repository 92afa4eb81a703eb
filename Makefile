# Everything a person needs; `make` alone lists it. Python packages go into .venv inside this checkout.
SHELL := /bin/sh
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow bench bench-kube kube-assets lint format lock clean

VENV := .venv
BIN := $(VENV)/bin
LOCK := .ci/constraints.txt
PYTHON ?=
# The tests that need these are left out, loudly, where an ordinary user does not have them.
TEST_COMMANDS := nginx=nginx-light qemu-img=qemu-utils xz=xz-utils bzip2=bzip2 zstd=zstd promtool=prometheus lua5.1=lua5.1 git=git sshd=openssh-server ssh=openssh-client
BENCH_COMMANDS := nginx=nginx-light xz=xz-utils zstd=zstd curl=curl aria2c=aria2

help: ## list what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime ## fetch, prove and place real bootable images, from this machine's Debian packages
	@$(BIN)/python -m manifests.demo

test: $(VENV)/.dev ## the whole suite but the slow tests; ARGS="-k name -x" goes to pytest
	@sh .ci/system-packages "tests need them" $(TEST_COMMANDS)
	@$(MAKE) --no-print-directory kube-assets KUBE_ASSETS=--optional
	@$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal $(ARGS)

test-slow: $(VENV)/.dev ## the tests marked slow: minutes
	@sh .ci/system-packages "tests need them" $(TEST_COMMANDS)
	@$(MAKE) --no-print-directory kube-assets KUBE_ASSETS=--optional
	@$(BIN)/python -m pytest -m slow $(ARGS)

bench: $(VENV)/.dev ## measure, print one table, keep it in tests/bench/README.md; ARGS="--scale 0.01 a c" to choose
	@sh .ci/system-packages "the benchmark compares with them" $(BENCH_COMMANDS)
	@$(BIN)/python -m tests.bench $(ARGS)

bench-kube: $(VENV)/.dev ## the same for operator mode, on a real API server; the table goes into tests/bench_kube/README.md
	@sh .ci/system-packages "it serves the images" nginx=nginx-light
	@$(MAKE) --no-print-directory kube-assets
	@$(BIN)/python -m tests.bench_kube $(ARGS)

kube-assets: $(VENV)/.dev ## build the API server that some tests talk to, once: 15 minutes of CPU, kept in ~/.cache
	@sh .ci/system-packages "the tests' API server keeps its data there" etcd=etcd-server
	@$(BIN)/python -m tests.apiserver.assets $(KUBE_ASSETS)

lint: $(VENV)/.dev ## ruff, mypy --strict, import rule
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.dev ## reformat and mend what ruff can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: ## choose the newest versions anew and write them to .ci/constraints.txt
	@rm -rf $(VENV)-lock
	@$$(PYTHON="$(PYTHON)" sh .ci/find-python) -m venv $(VENV)-lock
	@$(VENV)-lock/bin/pip install --quiet --disable-pip-version-check -e '.[dev]' hatchling editables
	@{ sed -n '/^#/p' $(LOCK); $(VENV)-lock/bin/pip freeze --exclude-editable | LC_ALL=C sort -f; } > $(LOCK).new
	@mv $(LOCK).new $(LOCK)
	@rm -rf $(VENV)-lock

clean: ## remove .venv, the demo and all caches
	@rm -rf $(VENV) $(VENV)-lock .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	@find controller tests manifests -name __pycache__ -type d -prune -exec rm -rf {} +

# PIP_CONSTRAINT rather than -c: it holds for the build backend too.
INSTALL = PIP_CONSTRAINT=$(LOCK) $(BIN)/pip install --quiet --disable-pip-version-check

$(BIN)/python:
	@python=$$(PYTHON="$(PYTHON)" sh .ci/find-python) && echo "Making $(VENV) with $$python" && $$python -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml $(LOCK) | $(BIN)/python
	@echo "Installing Python packages into $(VENV), versions from $(LOCK)"
	@$(INSTALL) -e .
	@touch $@

$(VENV)/.dev: pyproject.toml $(LOCK) | $(BIN)/python
	@echo "Installing Python packages for development into $(VENV), versions from $(LOCK)"
	@$(INSTALL) -e '.[dev]'
	@touch $(VENV)/.runtime $@
