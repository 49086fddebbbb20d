# Everyday commands; `make help` lists them.
SHELL := bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.synced
PYTEST := pytest -n 2 --dist loadfile --no-loadscope-reorder
export PATH := $(CURDIR)/$(BIN):$(PATH)
export VIRTUAL_ENV := $(CURDIR)/.venv
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := 1

.PHONY: help setup lock run repro server stop test coverage bench bytes faults kills chaos check format

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# pip installs uv, uv installs the rest; -qq hides pip's warnings, not its errors
$(STAMP): requirements.lock pyproject.toml
	@echo "Setting up .venv (about 280 packages, a minute or two)…"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || { sed -n '/^uv==/,/# via/p' requirements.lock > .venv/uv.txt && \
	  $(BIN)/python -m pip install -qq --no-deps --require-hashes -r .venv/uv.txt; }
	@uv pip sync -q --require-hashes --compile-bytecode requirements.lock
	@uv pip install -q --no-deps --no-build-isolation -e .
	@touch $@

setup: $(STAMP) ## create .venv from requirements.lock, hashes checked

lock: ## update requirements.lock to the newest versions that pyproject.toml allows
	@uv pip compile -q --upgrade --universal --generate-hashes --group dev -o requirements.lock pyproject.toml

run: $(STAMP) ## run the pipeline with Prefect: 'digits run'
	@digits run

repro: $(STAMP) ## run the pipeline with DVC alone
	@dvc repro

server: $(STAMP) ## start Prefect's server, worker and schedules on this machine
	@python -m flows.server start $(if $(HOST),--host $(HOST))

stop: $(STAMP) ## stop what 'make server' started
	@python -m flows.server stop

test: $(STAMP) ## run all tests
	@$(PYTEST)

coverage: $(STAMP) ## run all tests and measure coverage
	@$(PYTEST) --cov --cov-report=term

bytes: $(STAMP) ## train a little in several ways, also on emulated CPUs, and compare the bytes (CPUS="Haswell", CPUS=none)
	@PYTHONPATH=tests python -m portability $(CPUS)

faults: $(STAMP) ## inject faults into data, and see what catches them, and that clean data passes (SEED=1 CLEAN=100)
	@PYTHONPATH=tests python -m faults $(SEED) $(CLEAN)

kills: $(STAMP) ## SIGKILL the registry's commands 200 times (half an hour), and check what remains (KILLS=20)
	@PYTHONPATH=tests python -m chaos registry $(KILLS)

chaos: $(STAMP) ## break server, worker, runs, disk, clock and more in every state of a run, and see what survives (INJECTIONS=200 SEED=1)
	@PYTHONPATH=tests python -m chaos workflow $(or $(INJECTIONS),200) $(SEED)

bench: $(STAMP) ## run the benchmarks (hours), or one with NAME=…; writes reports/benchmarks.md
	@PYTHONPATH=tests python -m benchmarks $(NAME)

check: $(STAMP) ## check format, types, layers, dead code, dependencies, spelling, workflows, README
	@.ci/check

format: $(STAMP) ## format the code and fix what ruff can
	@ruff format .
	@ruff check --fix .
