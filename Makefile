# Two commands on a fresh machine: `make demo` and `make test`. Both install everything that they need.
SHELL := /bin/sh
PY := .venv/bin/python
WORKERS ?= 2
# What the sandbox's API server is in Azure: aks or arc.
CLUSTER ?= aks
# What the demo shows: a folder of examples/.
SCENARIO ?= tutorial

.PHONY: help setup binaries demo sandbox sandbox-down test lint types contracts unit adapters operator chaos bench lock clean

help:  ## What there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup:  ## Python, the locked dependencies, and this project, in .venv
	@hack/setup

binaries: setup
	@$(PY) -m entra_sandbox.local.binaries

demo: binaries  ## The tutorial (or SCENARIO=name, of examples/), on a real API server, with its proofs
	@$(PY) -m entra_sandbox.local.demo --scenario=$(SCENARIO)

sandbox: binaries  ## The same set-up, left running (CLUSTER=aks or arc); then: . .sandbox/env
	@$(PY) -m entra_sandbox.local.up --cluster=$(CLUSTER)

sandbox-down: setup  ## End what `make sandbox` started
	@$(PY) -m entra_sandbox.local.down

test: binaries  ## Everything that must hold
	@hack/test

lint: setup
	@.venv/bin/ruff check . && .venv/bin/ruff format --check -q .

types: setup
	@.venv/bin/mypy operator/entra_access sandbox/entra_sandbox tests

contracts: setup
	@.venv/bin/lint-imports

unit: setup
	@.venv/bin/pytest -q tests/unit

adapters: setup
	@.venv/bin/pytest -q -n $(WORKERS) tests/sandbox tests/adapters

operator: binaries
	@.venv/bin/pytest -q -n $(WORKERS) tests/controlplane tests/operator

chaos: binaries  ## Everything at once for CHAOS_SECONDS (600), by chance or with CHAOS_SEED=n, then exactly as wished
	@CHAOS_SECONDS="$${CHAOS_SECONDS:-600}" CHAOS_SEED="$${CHAOS_SEED:-$$(od -An -N3 -tu4 /dev/urandom | tr -d ' ')}" \
		.venv/bin/pytest -q -s tests/operator/test_chaos.py

bench: binaries  ## Speed, beside the raw limit of the same run
	@$(PY) tests/bench/grants.py

lock: setup  ## Make the lock files anew
	@hack/lock

clean: sandbox-down
	@rm -rf .venv .sandbox .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
