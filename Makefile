# Landbridge. `make` alone lists what can be asked for.
#
# Set-up is done once and again only when its inputs change: each step leaves a stamp, so everything
# else works without a network from then on.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
FORGE := contracts/node_modules/.bin/forge
PACKAGES := indexer bridge daemon simbank benchmarks
SOLIDITY := foundry.toml contracts/bin/solc $(shell find contracts/src -name '*.sol' 2>/dev/null)

VENV_READY := $(VENV)/.stamp-venv
LOCK_READY := $(VENV)/.stamp-requirements
PROJECT_READY := $(VENV)/.stamp-project
NODE_READY := contracts/node_modules/.stamp
# A security module in software, for the tests: unpacked, not installed.
SOFTHSM_READY := $(VENV)/softhsm2/.stamp
TOKEN_READY := contracts/out/DepositToken.sol/DepositToken.json
# Warnings are shown once, by the compilation that is not cached, and at most 256 of them: forge-std,
# which the tests import, has more. So they are denied where only our own sources are compiled, anew.
DENY := --force --deny warnings --out contracts/cache/deny --cache-path contracts/cache/deny/cache

PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_INPUT=1 \
	$(BIN)/python -m pip install --quiet --quiet --no-warn-script-location

# JSON=1 and ONCE=1 of `make demo`; 0 and empty are no.
DEMO_FLAGS = $(if $(filter-out 0,$(JSON)),--json) $(if $(filter-out 0,$(ONCE)),--once)
# PYTEST='-k reorg -x' and the like
PYTEST ?=
# Tests wait for processes more than they compute, so there are more of them than cores. Those that take
# longest are begun first. WORKERS=0 runs them one after another, in one process.
WORKERS ?= 3
SIDE_BY_SIDE = -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# ONLY=backfill, or several names; PEERS=DIR, the folder of a harness that measures other indexers
ONLY ?=
# FIRST=5000 SEEDS=1000 plays 5000 to 5999; WITHOUT=3,5 leaves actions of the one SEED out
SEEDS ?= 1000
FIRST ?= 0
SEED ?=
WITHOUT ?=
# POINT=node:send dies at the points whose names have this in them
POINT ?=
PEERS ?=

.PHONY: help setup demo test unit integration conformance acceptance contracts check lint guards \
	bench simulate crash format clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) \
		| awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

setup: $(PROJECT_READY) $(TOKEN_READY) ## virtual environment, packages, compiled token

demo: setup ## deposits become tokens and redemptions payouts, through a reorg and a crash (JSON=1 ONCE=1)
	@$(BIN)/landbridge demo $(DEMO_FLAGS)

test: setup $(SOFTHSM_READY) ## every test: Python's and the contract's
	@$(BIN)/python -m pytest tests/simulation tests/crash tests/acceptance tests/integration/daemon tests/integration \
		tests/conformance tests/unit $(SIDE_BY_SIDE) $(PYTEST)
	@$(FORGE) test

unit integration conformance acceptance: setup $(SOFTHSM_READY)
	@$(BIN)/python -m pytest tests/$@ $(SIDE_BY_SIDE) $(PYTEST)

contracts: setup
	@$(FORGE) test

lint: setup ## style, types, import contracts
	@$(BIN)/ruff check --quiet $(PACKAGES) tests
	@$(BIN)/ruff format --quiet --check $(PACKAGES) tests \
		|| { echo 'The files above are not formatted: run `make format`.' >&2; exit 1; }
	@$(BIN)/mypy --strict --no-error-summary $(PACKAGES) tests
	@$(BIN)/lint-imports --no-logo
	@$(FORGE) fmt --check
	@$(FORGE) build --quiet contracts/src $(DENY)

check: setup ## lint, then every test, then the guards
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory guards

guards: setup ## remove each safeguard in a scratch copy and see its test fail
	@$(BIN)/python -m tests.guards

bench: setup ## measure it, a line of JSON each (ONLY=backfill PEERS=DIR)
	@$(BIN)/python -m benchmarks $(ONLY) $(if $(PEERS),--peers '$(PEERS)')

simulate: setup ## play following under seeded faults (SEEDS=10000 FIRST=0, or SEED=4711 alone)
	@$(BIN)/python -m tests.simulation \
		$(if $(SEED),--seed $(SEED) --without '$(WITHOUT)',--first $(FIRST) --seeds $(SEEDS))

crash: setup ## kill the daemon at every point there is, and again while it recovers (POINT=name JSON=1)
	@$(BIN)/python -m tests.crash $(if $(POINT),--point '$(POINT)') $(if $(filter-out 0,$(JSON)),--json)

format: setup ## rewrite the code in the project's style
	@$(BIN)/ruff check --quiet --fix $(PACKAGES) tests
	@$(BIN)/ruff format --quiet $(PACKAGES) tests
	@$(FORGE) fmt

clean: ## remove everything that set-up and the checks made
	@rm -rf $(VENV) contracts/node_modules contracts/out contracts/cache build *.egg-info
	@rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .landbridge
	@find $(PACKAGES) tests -name __pycache__ -prune -exec rm -rf {} +

$(VENV_READY):
	@command -v $(PYTHON) >/dev/null \
		|| { echo 'Python 3.11 or newer is missing. On Debian: apt-get install python3-venv' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is older than 3.11. Name a newer one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
		|| { echo "$(PYTHON) cannot make virtual environments. On Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo 'Making the virtual environment'
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(LOCK_READY): requirements.lock $(VENV_READY)
	@echo 'Installing the Python packages of requirements.lock'
	@$(PIP) -r requirements.lock
	@touch $@

$(PROJECT_READY): pyproject.toml $(LOCK_READY)
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(SOFTHSM_READY): $(PROJECT_READY)
	@$(BIN)/python -m tests.conformance.custody.softhsm
	@mkdir -p $(@D)
	@touch $@

$(NODE_READY): contracts/package.json contracts/package-lock.json
	@command -v node >/dev/null && command -v npm >/dev/null \
		|| { echo 'Node 20 or newer, with npm, is missing: install both and run make again.' >&2; exit 1; }
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' \
		|| { echo "Node 20 or newer is needed; this is $$(node --version)." >&2; exit 1; }
	@echo 'Installing the npm packages of contracts/package-lock.json'
	@npm_config_update_notifier=false npm ci --prefix contracts --ignore-scripts --no-fund --no-audit --loglevel=error >/dev/null
	@test -x $(FORGE) \
		|| { echo 'npm has no forge for this platform: see contracts/package.json.' >&2; exit 1; }
	@touch $@

$(TOKEN_READY): $(NODE_READY) $(SOLIDITY)
	@echo 'Compiling the token'
	@$(FORGE) build --quiet contracts/src
	@touch $@
