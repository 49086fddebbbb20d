# Everything a person needs, each in one word. `make help` lists them.
SHELL := bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.synced
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := 1

.PHONY: help setup lock run repro server stop test bench check format

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): requirements.lock pyproject.toml
	@echo "Setting up .venv (about 280 packages, a minute or two)…"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || { sed -n '/^uv==/,/# via/p' requirements.lock > .venv/uv.txt && \
	  $(BIN)/python -m pip install -q --no-deps --require-hashes -r .venv/uv.txt; }
	@VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip sync -q --require-hashes --compile-bytecode requirements.lock
	@VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install -q --no-deps --no-build-isolation -e .
	@touch $@

setup: $(STAMP) ## the environment: .venv, from requirements.lock with hashes

lock: ## resolve the dependencies anew into requirements.lock
	uv pip compile -q --upgrade --universal --generate-hashes --group dev -o requirements.lock pyproject.toml

run: $(STAMP) ## the main job: the Prefect flow over the DVC stages
	@digits run

repro: $(STAMP) ## the same by DVC alone
	@dvc repro

server: $(STAMP) ## Prefect's server, worker and schedules, on loopback
	@python -m flows.server start

stop: $(STAMP) ## end what `make server` started
	@python -m flows.server stop

test: $(STAMP) ## all tests
	@pytest -n 2 --dist loadfile --no-loadscope-reorder

bench: $(STAMP) ## benchmarks → reports/benchmarks.md; NAME=… for one (hours for all, once)
	@PYTHONPATH=tests python -m benchmarks $(NAME)

check: $(STAMP) ## format, lint, types, layers, dead code, dependencies, spelling, workflows
	ruff format --check .
	ruff check .
	mypy
	lint-imports --no-logo
	vulture
	deptry .
	codespell
	check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	zizmor --offline --quiet .github/workflows
	digits report --check

format: $(STAMP) ## rewrite the code in its format
	ruff format .
	ruff check --fix .
