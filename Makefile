# One verb per task; every target does its own set-up. Needs Python 3.11+ with venv, and the package registries.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=
WORKERS ?= 2
POSTGRES_VERSIONS ?= 14 15 16 17 18

.PHONY: setup check test browser mariadb soak demo bench docs requirements lint types imports unit clean

setup: $(READY)  ## create .venv and install everything from the lock file
	@echo "Ready. Next: make demo   (then make test)"

$(READY): pyproject.toml uv.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9"
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv sync --frozen --active --inexact --quiet
	@touch $(READY)

check: lint types imports unit  ## all that needs no server; under 90 s

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/basedpyright

imports: $(READY)
	$(BIN)/lint-imports

unit: $(READY)
	$(BIN)/pytest -q tests/unit tests/architecture

test: check  ## everything: real Postgres, real sockets, the official client; two tests at a time, for most of them wait
	$(BIN)/pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder --ignore=tests/unit --ignore=tests/architecture

browser:  ## Chromium for the tests of the official web SDK (Debian, as root); where there is none, they are skipped
	@command -v chromium >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null; }

mariadb:  ## a MariaDB server for the tests of the MySQL persister (Debian, as root; programs only, no service); else they are skipped
	@PATH="$$PATH:/usr/sbin" command -v mariadbd >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends mariadb-server-core >/dev/null; }

soak: $(READY)  ## the long property and fault runs, whole, and every supported Postgres version
	HYPOTHESIS_PROFILE=deep SYNCLINE_SOAK=1 $(BIN)/pytest -q --timeout=3600 $(ARGS)
	for version in $(POSTGRES_VERSIONS); do \
	  programs=$$($(BIN)/python -m tools.postgres_versions $$version) || exit 1; \
	  $$programs/postgres --version; \
	  SYNCLINE_POSTGRES_BIN=$$programs $(BIN)/pytest -q --timeout=3600 tests/integration tests/conformance tests/acceptance || exit 1; \
	done

demo: $(READY)  ## Postgres, service, backend, three devices and a web page; ARGS=--check plays the scenario by itself
	$(BIN)/syncline demo $(ARGS)

bench: $(READY)  ## our figure, the wall measured in the same run, and the ratio
	$(BIN)/python -m bench $(ARGS)

docs: $(READY)  ## regenerate the generated pages
	$(BIN)/python -m tools.generate_docs

requirements: $(READY)  ## run the marked tests and print the table of requirement rows
	$(BIN)/python -m tools.requirements $(ARGS)

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
