# `make run` and `make test` set up whatever they need, on a bare Debian 12 too.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run demo test test-litellm lint bench venv

BIN := .venv/bin

# $(call need,TEST,WHAT,PACKAGES): if TEST fails, root gets Debian's PACKAGES, anybody else one line.
define need
	if ! { $(1); } >/dev/null 2>&1; then \
		if [ "$$(id -u)" -ne 0 ]; then echo "$(2) is missing: sudo apt-get install -y $(3)" >&2; exit 1; fi; \
		echo "Installing $(2) ($(3))" >&2; \
		apt-get update -qq; \
		DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes apt-get install -yqq --no-install-recommends $(3) >/dev/null; \
		{ $(1); } >/dev/null 2>&1 || { echo "$(2) is still missing after apt-get install $(3)" >&2; exit 1; }; \
	fi
endef

# A Python that is new enough and can make an environment with pip in it; the first that fits.
FITS := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON = $$(for name in python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c '$(FITS)' 2>/dev/null && { command -v "$$name"; break; }; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install -qq --constraint constraints.txt

help:
	@echo "make run     the demo: simulated providers, the daemon and the page"
	@echo "make test    every test, with a real PostgreSQL, inference engine and browser"
	@echo "make test-litellm  our probes through LiteLLM's proxy; brings it (750 MB)"
	@echo "make lint    style, types, imports"
	@echo "make bench   the figures of bench/"
	@echo "make venv    only set up .venv"

run: $(BIN)/.installed
	@exec $(BIN)/uptoken demo

demo: run

test: $(BIN)/.tested-with
	@$(call need,compgen -G '/usr/lib/postgresql/*/bin/initdb',PostgreSQL,postgresql)
	@$(call need,test -x /usr/bin/chromium,Chromium,chromium)
	@$(call need,/sbin/ldconfig -p | grep libgomp.so.1,libgomp (llama.cpp),libgomp1)
	@$(call need,/sbin/ldconfig -p | grep libatomic.so.1,libatomic (Playwright),libatomic1)
	@$(call need,command -v ip,iproute2 (network namespaces),iproute2)
	@$(call need,command -v systemd-analyze,systemd-analyze,systemd)
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not alone'
	@$(BIN)/python -m pytest -m alone

LITELLM := litellm[proxy]==1.106.2

test-litellm: $(BIN)/.tested-with .venv-litellm/.installed
	@UPTOKEN_LITELLM="$(CURDIR)/.venv-litellm/bin/litellm" $(BIN)/python -m pytest tests/gateways

# An environment of its own: LiteLLM pins half of what is on the index.
.venv-litellm/.installed: $(BIN)/pip Makefile
	@echo "Setting up .venv-litellm (some minutes, once)" >&2
	@test -x .venv-litellm/bin/pip || "$(PYTHON)" -m venv .venv-litellm
	@.venv-litellm/bin/python -m pip --disable-pip-version-check --no-input install -qq '$(LITELLM)'
	@touch $@

lint: $(BIN)/.tested-with
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

bench: $(BIN)/.tested-with
	@$(BIN)/python -m bench

venv: $(BIN)/.installed

# ensurepip writes pip last, so half an environment is made again.
$(BIN)/pip:
	@$(call need,test -n "$(PYTHON)",Python 3.11 or newer with venv,python3 python3-venv)
	@"$(PYTHON)" -m venv .venv

$(BIN)/.installed: $(BIN)/pip pyproject.toml constraints.txt
	@echo "Setting up .venv (a minute, once)" >&2
	@$(PIP) --editable .
	@touch $@

$(BIN)/.tested-with: $(BIN)/pip pyproject.toml constraints.txt
	@echo "Setting up .venv with what the tests need (some minutes, once)" >&2
	@$(PIP) --editable '.[dev]'
	@touch $(BIN)/.installed $@
