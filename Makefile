# Everything a person needs, each in one word. `make help` lists them.
SHELL := bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.synced
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1

.PHONY: help setup run test check

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
