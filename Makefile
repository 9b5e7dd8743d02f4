# One command each; `make help` lists them. Every target does its own set-up from nothing.

SHELL := /bin/bash
.DEFAULT_GOAL := help

SECONDS := 60
TESTS := tests
PYTEST_ARGS :=

VENV := .venv
DEMO_VENV := .venv-demo
PY := $(VENV)/bin/python
APT_PACKAGES := mosquitto mosquitto-clients socat
SBIN := :/usr/sbin:/sbin

# The first interpreter that runs, is one that we support and can make a virtual environment.
FIND_PYTHON = for p in $(PYTHON) python3.11 python3.12 python3.13 python3.10 python3; do \
	if "$$p" -c 'import sys, ensurepip, venv; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' \
	2>/dev/null; then echo "$$p"; exit 0; fi; done; \
	echo "make: no Python 3.10 to 3.13 with its venv module found; run 'make deps', or 'make PYTHON=/path/to/python3'" >&2; \
	exit 1

.PHONY: help deps demo test test-slow lint docs bench clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps:  ## what apt must bring: a real broker and serial tools, for the tests
	@missing=(); export PATH="$$PATH$(SBIN)"; \
	command -v mosquitto >/dev/null || missing+=(mosquitto); \
	command -v mosquitto_sub >/dev/null || missing+=(mosquitto-clients); \
	command -v socat >/dev/null || missing+=(socat); \
	( $(FIND_PYTHON) ) >/dev/null 2>&1 || missing+=(python3 python3-venv); \
	if [ $${#missing[@]} -eq 0 ]; then \
		echo "make deps: nothing to do, $(APT_PACKAGES) and a Python are present"; exit 0; fi; \
	if ! command -v apt-get >/dev/null; then \
		echo "make deps: missing $${missing[*]}, and there is no apt-get here; install them by your system's way" >&2; exit 1; fi; \
	if [ "$$(id -u)" -ne 0 ]; then \
		echo "make deps: missing $${missing[*]}; run: sudo apt-get install -y $${missing[*]}" >&2; exit 1; fi; \
	echo "make deps: installing $${missing[*]}"; export DEBIAN_FRONTEND=noninteractive; \
	apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null 2>&1 \
		|| { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$${missing[@]}"; } \
		|| { echo "make deps: apt-get could not install $${missing[*]}" >&2; exit 1; }

$(VENV)/.installed: pyproject.toml
	@python=$$( $(FIND_PYTHON) ) || exit 1; \
	echo "Setting up $(VENV) with $$python: agent, trainer and test tools (a few minutes, once)"; \
	[ -x $(VENV)/bin/python ] || "$$python" -m venv $(VENV); \
	$(VENV)/bin/python -m pip install -q --disable-pip-version-check -e ".[trainer,dashboard,dev]" && touch $@

# Its own environment, so that a first look needs no TensorFlow.
$(DEMO_VENV)/.installed: pyproject.toml
	@python=$$( $(FIND_PYTHON) ) || exit 1; \
	echo "Setting up $(DEMO_VENV) with $$python: the agent alone (under a minute, once)"; \
	[ -x $(DEMO_VENV)/bin/python ] || "$$python" -m venv $(DEMO_VENV); \
	$(DEMO_VENV)/bin/python -m pip install -q --disable-pip-version-check -e ".[demo]" && touch $@

demo: $(DEMO_VENV)/.installed  ## watch an attack on the wire; SECONDS=30 for a short one
	@$(DEMO_VENV)/bin/edge-agent demo --seconds $(SECONDS)

test: deps $(VENV)/.installed  ## every test but the slow ones
	@$(PY) -m pytest -m "not slow" $(PYTEST_ARGS) $(TESTS)

test-slow: deps $(VENV)/.installed  ## the slow tests alone
	@$(PY) -m pytest -m slow $(PYTEST_ARGS) $(TESTS)

lint: $(VENV)/.installed  ## style, types and the direction of imports
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports --no-cache

docs: $(VENV)/.installed  ## write the reference pages from the code
	@$(PY) -m docs.generate_cli
	@$(PY) -m docs.generate_config

bench: $(VENV)/.installed  ## the agent's own cost, beside its goals
	@mkdir -p out
	@$(PY) -m benchmarks.agent --json out/bench-agent.json

clean:  ## remove environments, caches and outputs
	rm -rf $(VENV) $(DEMO_VENV) build dist out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
