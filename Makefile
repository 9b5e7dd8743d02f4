# One command each; `make help` lists them. Every target does its own set-up from nothing.

SHELL := /bin/bash
.DEFAULT_GOAL := help

SECONDS := 60
FUZZ_S := 180
HOURS := 2
TESTS := tests
PYTEST_ARGS :=
# tests/conftest.py says which tests may run beside others
PROCESSES := -n 2

VENV := .venv
DEMO_VENV := .venv-demo
PY := $(VENV)/bin/python

# The first interpreter that runs, is one that we support and can make a virtual environment.
FIND_PYTHON = for p in $(PYTHON) python3.11 python3.12 python3.13 python3.10 python3; do \
	if "$$p" -c 'import sys, ensurepip, venv; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' \
	2>/dev/null; then echo "$$p"; exit 0; fi; done; \
	echo "make: no Python 3.10 to 3.13 with its venv module found; run 'make deps', or 'make PYTHON=/path/to/python3'" >&2; \
	exit 1

.PHONY: help deps demo test test-slow lint audit fuzz sbom docs gallery bench firmware dist deb image release-check clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps:  ## what apt must bring for the tests: a real broker, compilers, emulators
	@PYTHON=$$( ( $(FIND_PYTHON) ) 2>/dev/null || true ) .ci/deps

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
	@$(PY) -m pytest $(PROCESSES) -m "not slow" $(PYTEST_ARGS) $(TESTS)

test-slow: deps $(VENV)/.installed  ## the slow tests alone
	@$(PY) -m pytest $(PROCESSES) -m slow $(PYTEST_ARGS) $(TESTS)

lint: $(VENV)/.installed  ## style, types, direction of imports, bandit and pip-audit
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports --no-cache
	@$(PY) -m bandit -q -c pyproject.toml -r edge firmware_bridge trainer
	@$(PY) .ci/audit

audit: $(VENV)/.installed  ## known holes in what is installed; AUDIT=required fails where nobody can be asked
	@$(PY) .ci/audit

fuzz: $(VENV)/.installed  ## every input, with bytes that nobody meant; FUZZ_S=3600 for an hour
	@$(PY) -m tests.fuzz.run --seconds $(FUZZ_S)

sbom: $(VENV)/.installed  ## what the agent is made of, as CycloneDX, into out/sbom.json
	@.ci/sbom $(PY) out/sbom.json

docs: $(VENV)/.installed  ## write references and tables, and build the site into out/site
	@$(PY) -m docs.generate_cli
	@$(PY) -m docs.generate_config
	@$(PY) -m docs.generate_results
	@$(PY) -m docs.generate_papers
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet
	@echo "out/site/index.html: open it in a browser, no server is needed"

gallery: $(VENV)/.installed  ## make the pictures of the documentation from runs of our own
	@$(PY) -m docs.gallery
	@$(PY) -m docs.generate_platforms

bench: $(VENV)/.installed  ## the agent's own cost, beside its goals
	@mkdir -p out
	@$(PY) -m benchmarks.agent --json out/bench-agent.json

soak: $(VENV)/.installed  ## an agent under faults for HOURS=2: loss, memory, descriptors, disk
	@$(PY) -m benchmarks.soak --hours $(HOURS) --out out/soak

firmware:  ## build the C library and the example firmware into out/firmware
	@$(MAKE) --no-print-directory -C firmware_bridge/firmware OUT=$(CURDIR)/out/firmware

dist: $(VENV)/.installed  ## wheel and source distribution into dist/, the same bytes from the same commit
	@$(PY) -m deploy.dist

deb: $(VENV)/.installed  ## Debian 12 packages for amd64, arm64 and armhf into dist/
	@$(PY) -m deploy.deb

image: $(VENV)/.installed  ## container images for amd64 and arm64 from the Debian packages, without a daemon
	@$(PY) -m deploy.image

release-check: $(VENV)/.installed  ## build every package twice, compare, sum up: may it go out?
	@$(PY) -m deploy.release

clean:  ## remove environments, caches and outputs
	rm -rf $(VENV) $(DEMO_VENV) build dist out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
