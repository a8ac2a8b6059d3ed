# Everything a developer does, from nothing but Python 3.11 or newer and make.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ROUNDS ?= 20
export LITELLM_LOCAL_MODEL_COST_MAP := True

# Stamps: set up again when a lock file or the project's own metadata changes.
$(VENV)/.run: requirements/run.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements/run.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	$(BIN)/pip install --quiet --require-hashes -r requirements/dev.txt
	touch $@

$(VENV)/.readers: requirements/readers.txt $(VENV)/.dev
	$(BIN)/pip install --quiet --require-hashes --no-deps -r requirements/readers.txt
	touch $@

.PHONY: help
help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

.PHONY: demo
demo: $(VENV)/.run ## The whole system on this machine with a laboratory provider (ARGS=--exit ends by itself)
	$(BIN)/signalops demo $(ARGS)

.PHONY: up
up: $(VENV)/.run ## The same stack for real providers, with proxy_config.yaml
	$(BIN)/signalops up $(ARGS)

.PHONY: check
check: $(VENV)/.dev ## What must pass before a commit: no services needed, under 30 s
	@$(MAKE) --no-print-directory --jobs 2 --output-sync lint types contracts unit

.PHONY: lint
lint: $(VENV)/.dev ## ruff: rules and format
	$(BIN)/ruff check --quiet --output-format concise
	$(BIN)/ruff format --quiet --check

.PHONY: types
types: $(VENV)/.dev ## mypy --strict
	$(BIN)/mypy

.PHONY: contracts
contracts: $(VENV)/.dev ## Who may import whom
	$(BIN)/lint-imports > $(VENV)/contracts.log || (cat $(VENV)/contracts.log; exit 1)

.PHONY: unit
unit: $(VENV)/.dev ## Rules without services
	$(BIN)/pytest -q --hypothesis-profile=quick tests/unit

.PHONY: test
test: $(VENV)/.readers ## Every test: unit, integration, and the real processes end to end
	$(BIN)/pytest -q -n 2 --dist loadgroup --durations=15 tests/e2e tests/integration tests/statistics tests/readers tests/unit

.PHONY: chaos
chaos: $(VENV)/.dev ## Kill everything in turn under load; prints what was lost (ROUNDS=20)
	$(BIN)/python -m tests.bench.chaos --rounds $(ROUNDS)

.PHONY: simulate
simulate: $(VENV)/.dev ## Error rates of the statistics, each beside its bound; fails when one is broken
	$(BIN)/python -m tests.bench.simulation $(ARGS)

.PHONY: bench
bench: $(VENV)/.dev ## Measure: one `name: value` line a figure
	$(BIN)/python -m tests.bench

.PHONY: lock
lock: ## Renew requirements/*.txt (needs uv); releases younger than a week are left out
	UV_CUSTOM_COMPILE_COMMAND='make lock' uv pip compile pyproject.toml --python-version 3.11 --universal --generate-hashes --extra lab --extra build -o requirements/run.txt
	UV_CUSTOM_COMPILE_COMMAND='make lock' uv pip compile pyproject.toml --python-version 3.11 --universal --generate-hashes --extra lab --extra build --extra dev -c requirements/run.txt -o requirements/dev.txt
	UV_CUSTOM_COMPILE_COMMAND='make lock' uv pip compile requirements/readers.in --python-version 3.11 --universal --generate-hashes --no-deps -o requirements/readers.txt
