# Every command of the project. `make` alone lists them; each installs what it lacks first (see .ci/setup).
# ARGS="..." is handed on, for example: make test ARGS="tests/media -k floor"; make demo ARGS="--help"

.DEFAULT_GOAL := help
.PHONY: help setup demo serve dev build check format test test-long bench lock clean
MAKEFLAGS += --no-print-directory
.ONESHELL:
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

BIN := .venv/bin
BENCH ?= relay
PACKAGES := $(wildcard server media radio_bridge satellite web_console)
TYPED := $(PACKAGES) $(wildcard tests/support)
FRONTEND := $(wildcard web_console/frontend/package.json)

help: ## this list
	@printf 'Fengsui (烽燧). On a fresh Debian 12 start with `make demo`; `make test` proves it.\n\n'
	awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## start the server with simulated field units sending real media; prints what to open
	@.ci/setup demo
	exec $(BIN)/fengsui demo $(ARGS)

serve: ## start the server with configs/reference.toml
	@.ci/setup serve
	exec $(BIN)/fengsui serve --config configs/reference.toml $(ARGS)

test: ## every test but the long ones: unit, real peers, end to end
	@.ci/setup test
	$(if $(FRONTEND),.ci/setup npm run test)
	.ci/setup cargo test --quiet --locked --no-default-features
	$(BIN)/python -m pytest -n 2 -m "not long and not bench" $(ARGS)

check: ## format, lint, types and the fast tests, in about a minute
	@.ci/setup check
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy $(TYPED)
	$(BIN)/bandit -q -ll -c pyproject.toml -r $(PACKAGES)
	$(if $(FRONTEND),.ci/setup npm run check)
	.ci/setup cargo fmt --check
	.ci/setup cargo clippy --quiet --locked -- -D warnings
	$(BIN)/python -m pytest -q -n 2 -m "not e2e and not long and not bench" $(ARGS)

format: ## put the code into its one format and mend what the linter can mend
	@.ci/setup check
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

test-long: ## faults and fuzzing that take minutes
	@.ci/setup test
	HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest -m long --timeout=1800 $(ARGS)

bench: ## measure the relay beside Janus and a bare loop (ARGS="--json" for one object; BENCH=ptt for talk groups)
	@.ci/setup bench
	exec $(BIN)/fengsui bench $(BENCH) $(ARGS)

dev: ## the server with configs/dev.toml, built and started again after each saved change
	@exec .ci/dev $(ARGS)

build: ## build the console's front end into web_console/static
	@.ci/setup build

setup: ## install all that running, testing and developing needs, and build the console
	@.ci/setup test

lock: ## make the lock files again with the newest versions that pyproject.toml and package.json allow
	@.ci/setup lock

clean: ## remove what was installed and built here; keeps the server's data
	@rm -rf .venv build *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache test-results
	rm -rf web_console/static web_console/frontend/node_modules media/native/target
	rm -f media/_native.abi3.so*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
