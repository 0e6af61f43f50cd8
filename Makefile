# Tilewright: `make tune` and `make test` do all the set-up on a machine with git, make, python3 (>= 3.11) and
# python3-venv.  Everything is installed into .venv, and installed again only when setup.py or pyproject.toml changed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

# What to tune: `make tune LAYER=resnet18.C2 TIME=10m`.
LAYER ?= resnet18.C6
LAYOUT ?= NCHW16c
TIME ?= 60s

# What to measure beside other libraries: `make benchmark FAMILY=gemm THREADS=2 DB=tuning.db`.
FAMILY ?= resnet18
THREADS ?= 1
DB ?=

# What the shipped defaults are made of: trials, seconds of tuning for each training workload, or a time for all of it:
# `make shipped BUDGET=20m`; numbers of threads, and families of workloads.
TRAINING_DB ?= build/training.db
TRAINING_TIME ?= 10
TRAINING_THREADS ?= 1,2
TRAINING_FAMILIES ?=
BUDGET ?=

# How much to fuzz, and from which seed on.
PAIRS ?= 20000
SEED ?= 1000000
PROGRAMS ?= 300

# What is carried to a machine with a GPU: where it is made, candidates of each tuned shape, the Python of that machine,
# and records of a GPU to choose candidates by.
GPU_FOLDER ?= build/gpu
CANDIDATES ?= 24
PYTHON312 ?= python3.12
RECORDS ?=

.PHONY: help tune benchmark benchmark-all shipped test check lint types layers sizes format fuzz gpu-fuzz \
	aarch64-check pycuda-wheel cuda-adapter-check gpu-bundle gpu-check gpu-check-dry install-check clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | expand -t 16

tune: $(VENV)/installed ## tune one ResNet-18 layer for this CPU, about a minute
	$(BIN)/autotune conv2d --target llvm --layer $(LAYER) --layout $(LAYOUT) --time $(TIME)

benchmark: $(VENV)/installed ## our kernels beside those of the libraries that are in .venv, measured in turn
	cd benchmarks && ../$(BIN)/python -m peers --family $(FAMILY) --threads $(THREADS) $(if $(DB),--db $(abspath $(DB)))

benchmark-all: $(VENV)/installed ## all families with one thread and two, and the tables of README.md and docs/measurements.md
	cd benchmarks && ../$(BIN)/python -m peers --family all --threads 1,2 --rounds 11 --most 8 \
		$(if $(DB),--ours both --db $(abspath $(DB)))
	cd benchmarks && ../$(BIN)/python -m peers.summary

shipped: $(VENV)/installed ## tune the training workloads, write the records and the model that ship, confirm the records
	mkdir -p $(dir $(TRAINING_DB))
	cd benchmarks && ../$(BIN)/python -m untuned ship --db $(abspath $(TRAINING_DB)) --time $(TRAINING_TIME) \
		--threads $(TRAINING_THREADS) --family "$(TRAINING_FAMILIES)" $(if $(BUDGET),--budget $(BUDGET))

test: $(VENV)/tested ## run the tests
	@rm -f $(VENV)/passed
	@before="$$($(contents))"; \
	$(BIN)/python -m pytest tests -q -n 2 --dist loadfile; \
	printf %s "$$before" > $(VENV)/passed

check: lint types sizes layers ## lint, types, sizes, layers, and the tests where this tree has not passed them yet
	@if [ -e $(VENV)/passed ] && [ "$$(cat $(VENV)/passed)" = "$$($(contents))" ]; \
	then echo "tests: passed by these very files, see the last run of make test"; \
	else $(MAKE) --no-print-directory test; fi

lint: $(VENV)/checked ## ruff: layout and rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/checked ## pyright's type checker
	$(BIN)/basedpyright --warnings

sizes: $(VENV)/installed ## sizes of functions and files
	$(BIN)/python tools/sizes.py

layers: $(VENV)/tested ## the direction of imports
	$(BIN)/python -m pytest tests/test_layers.py -q

format: $(VENV)/checked ## lay out the code and apply the safe corrections
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

fuzz: $(VENV)/tested ## random programs and schedules by the thousand: make fuzz PAIRS=100000 SEED=7
	cd tests && ../$(BIN)/python -m fuzz --pairs $(PAIRS) --seed $(SEED)

gpu-fuzz: $(VENV)/tested ## the same with GPU schedules, whose kernels are emulated
	cd tests && ../$(BIN)/python -m fuzz --gpu --pairs $(PAIRS) --seed $(SEED)

aarch64-check: $(VENV)/tested ## run kernels for AArch64 under qemu, a few minutes; says which packages that needs
	PYTHONPATH=tests:tools $(BIN)/python -m aarch64_check --fuzz $(PROGRAMS) --seed $(SEED)

pycuda-wheel: $(VENV)/installed ## build PyCUDA's wheel into build/wheels; needs the CUDA headers, no GPU and no driver
	$(BIN)/python tools/build_pycuda_wheel.py --output build/wheels

cuda-adapter-check: $(VENV)/tested ## run the CUDA driver's tests with PyCUDA itself, on a driver with emulated kernels
	$(BIN)/python tools/cuda_adapter_check.py

gpu-bundle: $(VENV)/tested ## build what is carried to a machine with a GPU: wheels, kernels, candidates, scripts; needs none
	cd tools && ../$(BIN)/python -m gpu_check build --folder $(abspath $(GPU_FOLDER)) --candidates $(CANDIDATES) \
		--python312 $(PYTHON312) $(if $(RECORDS),--records $(abspath $(RECORDS)))

gpu-check: ## on a machine with a GPU: facts, the device language, templates, tuned shapes, sanitizer, counters
	sh $(GPU_FOLDER)/check.sh $(or $(PHASE),all) --results $(CURDIR)/benchmarks/results

gpu-check-dry: $(VENV)/tested ## the same check on the emulator, small shapes; its times are not a GPU's
	cd tools && ../$(BIN)/python -m gpu_check build --dry --candidates 4 --folder $(abspath build/gpu-dry)
	cd tools && ../$(BIN)/python -m gpu_check all --device emulate --folder $(abspath build/gpu-dry) \
		--output $(abspath build/gpu-dry/results)

install-check: ## install into fresh environments, with and without an xgboost there; print time and size
	$(PYTHON) tools/install_check.py

clean: ## remove what is built and installed
	rm -rf $(VENV) build dist *.egg-info

# The bytes of every file of the checkout that git does not ignore, as one digest.
contents = git ls-files --cached --others --exclude-standard -z | sort -zu | { xargs -0 sha256sum 2>&1 || true; } | sha256sum


$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo "Tilewright needs Python 3.11 or newer; try: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' \
	|| { echo "this Python has no venv; try: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python setup.py pyproject.toml
	$(PIP) install --quiet --editable .
	@touch $@

$(VENV)/tested: $(VENV)/installed
	$(PIP) install --quiet --editable '.[test]'
	@touch $@

$(VENV)/checked: $(VENV)/installed
	$(PIP) install --quiet --editable '.[dev]'
	mkdir -p $(VENV)/types && ln -sfn ../.. $(VENV)/types/tilewright
	@touch $@
