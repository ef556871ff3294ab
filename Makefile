# `make` alone lists the targets. Everything is installed into .venv, here.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

# The real clients that tests/wire talks to us with: program:debian-package.
CLIENTS := \
	chromium:chromium \
	curl:curl \
	gcc:build-essential \
	gnutls-cli:gnutls-bin \
	haproxy:haproxy \
	nc:netcat-openbsd \
	nginx:libnginx-mod-stream \
	nmap:nmap \
	node:nodejs \
	npm:npm \
	openssl:openssl \
	slowhttptest:slowhttptest \
	socat:socat \
	ssh:openssh-client \
	swaks:swaks \
	testssl:testssl.sh \
	wrk:wrk

# What an installation depends on: an editable one copies the Twisted drop-in.
INSTALLED := pyproject.toml $(wildcard twisted_plugins/*.py)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test lint clients fuzz soak reactor-tests bench docs clean

help: ## List the targets.
	@sed -n 's/^\([a-z-]*\): .*## /\1\t/p' Makefile | expand -t 10

run: $(VENV)/.run ## Start the demonstration server (tac/demo.tac) in the foreground.
	@exec $(BIN)/twistd --pidfile= -noy tac/demo.tac

test: $(VENV)/.test $(VENV)/sslyze lint clients ## Lint, then run every test and require the coverage.
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: $(VENV)/.test ## Check style, types and who imports whom.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# Missing ones are installed where that is allowed, otherwise asked for.
clients: ## Have the real clients that the tests use.
	@missing=; \
	for client in $(CLIENTS); do \
		command -v "$${client%%:*}" >/dev/null || missing="$$missing $${client#*:}"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get update -qq </dev/null && \
		apt-get install -qq -y --no-install-recommends $$missing </dev/null; \
	else \
		echo "The tests need clients that are not installed. Type:" >&2; \
		echo "    sudo apt-get install$$missing" >&2; \
		exit 1; \
	fi

fuzz: $(VENV)/.test ## Try 100,000 mutated inputs on each parser of what peers send.
	$(BIN)/python -m tests.fuzz

soak: $(VENV)/.test clients ## Attack a server over loopback and measure it, on both reactors (45 minutes).
	$(BIN)/python -m tests.soak
	$(BIN)/python -m tests.soak --reactor uvloop

reactor-tests: $(VENV)/.test ## Run Twisted's reactor tests against ours and against epoll.
	$(BIN)/python -m tests.reactor

bench: $(VENV)/.bench ## Measure side by side with peers (20 minutes).
	$(BIN)/python -m bench

docs: $(VENV)/.test ## Build the documentation into docs/_build/html; a warning is an error.
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

clean: ## Remove what the other targets made, except .venv.
	rm -rf build dist docs/_build docs/reference/generated htmlcov .hypothesis
	rm -rf .import_linter_cache .mypy_cache .pytest_cache .ruff_cache _trial_temp*
	rm -f .coverage .coverage.*
	find . -path ./$(VENV) -prune -o -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "myserv needs Python 3.11 or later; say which: make PYTHON=/path/to/python3" >&2; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "This Python cannot make virtual environments. Type:" >&2; \
		$(PYTHON) -c 'import sys; print("    sudo apt-get install python%d.%d-venv" % sys.version_info[:2])' >&2; \
		exit 1; }
	$(PYTHON) -m venv $(VENV)

# Stamps: an installation is repeated when what it depends on has changed.
$(VENV)/.run: $(INSTALLED) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.test: $(INSTALLED) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[all,docs,lint,test]'
	@touch $(VENV)/.run $@

# A peer that cannot be installed is named by the bench, which measures the others.
$(VENV)/.bench: $(VENV)/.test
	-$(BIN)/python -m pip install --quiet --editable '.[bench]' && touch $@

# It judges the TLS. Not in the same environment, because it needs an older cryptography.
$(VENV)/sslyze: | $(BIN)/python
	$(PYTHON) -m venv $@.new
	$@.new/bin/python -m pip install --quiet 'sslyze>=6.3.1'
	mv $@.new $@
