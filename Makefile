# Every target sets itself up: a virtual environment in $(VENV), then what the target needs, once for each state of
# pyproject.toml and constraints.txt. `make` alone lists the targets.

VENV ?= .venv
PY := $(VENV)/bin/python
EXTRAS := openvino,torch,tensorflow,trees,tvm,cuda,neuron-lower,kernels,kernels-bench,bench,ray,dev
KEY := $(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
CORE := $(VENV)/.ready-core-$(KEY)
FULL := $(VENV)/.ready-full-$(KEY)
PIP = $(PY) -m pip --quiet --no-input --disable-pip-version-check install -c constraints.txt
ARGS ?=

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-slow lint format bench bench-cold report selftest selftest-long nightly nightly-matrix bench-kernels bench-trees prove-trees fuzz \
	fuzz-torch fuzz-trees fuzz-skops conformance bench-exact bench-warm bench-static conformance-rewrites conformance-neuron inferentia cubins emulated optional-packages host-matrix check-mutants clean
export PYTHONNOUSERSITE := 1
export PIP_ROOT_USER_ACTION := ignore

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(CORE)  ## compile a real model for this machine, check it, race it against onnxruntime and OpenVINO
	@$(PY) -m neoc.bench.demo $(ARGS) </dev/null

test: $(FULL)  ## the tests, with the seconds of each suite
	@$(PY) -m pytest $(ARGS) </dev/null

test-slow: $(FULL)  ## the tests, those marked slow as well
	@$(PY) -m pytest --slow $(ARGS) </dev/null

lint: $(FULL)  ## ruff (rules and format) and strict mypy
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

format: $(FULL)  ## let ruff write the format
	@$(PY) -m ruff check --fix --quiet . || true
	@$(PY) -m ruff format .

bench: $(FULL)  ## the zoo against its peers: the table of the README
	@$(PY) -m neoc.bench.zoo_table $(ARGS) </dev/null

bench-cold: $(FULL)  ## ten models from a new process to the first result, and their memory, against onnxruntime
	@$(PY) -m neoc.bench.cold $(ARGS) </dev/null

bench-static: $(FULL)  ## a variant for exact sizes, and bound buffers, against the open program: docs/bound-and-cold.md
	@$(PY) -m neoc.bench.static_table $(ARGS) </dev/null

bench-warm: $(FULL)  ## seconds of a first compilation of ten models, and of the same one again: the table of docs/exact-speed.md
	@$(PY) -m neoc.bench.warm $(ARGS) </dev/null

bench-exact: $(FULL)  ## ten models at fixed sizes, rewritten, against their peers: the table of docs/exact-speed.md
	@$(PY) -m neoc.bench.exact_table $(ARGS) </dev/null

report: $(FULL)  ## the zoo suite, appended to build/ledger.jsonl, as one page: build/report.html
	@mkdir -p build
	@$(PY) -m neoc.cli bench --suite zoo --ledger build/ledger.jsonl $(ARGS) </dev/null
	@$(PY) -m neoc.cli report build/ledger.jsonl -o build/report.html

selftest-long: $(FULL)  ## record process runs with known slow-downs on this machine (two hours), judge them, write the table
	@$(PY) -m neoc.bench.selftest $(ARGS) </dev/null
	@$(PY) -m neoc.bench.selftest_judge --write docs/benchmarking.md

selftest: $(FULL)  ## judge the recorded process runs again, print the table
	@$(PY) -m neoc.bench.selftest_judge $(ARGS) </dev/null

nightly: $(FULL)  ## the nightly suite, its ledger and report; fails on a confirmed regression alone
	@$(PY) -m neoc.bench.nightly run $(ARGS) </dev/null

nightly-matrix: $(FULL)  ## the machines of bench/nightly.toml as a workflow's matrix
	@$(PY) -m neoc.bench.nightly matrix $(ARGS) </dev/null

bench-kernels: $(FULL)  ## the kernels against OpenCV, Pillow, scikit-learn, numpy and torch: the table of docs/kernels.md
	@mkdir -p build
	@$(PY) -m pytest bench/kernels/bench_kernels.py -q -p no:cacheprovider --benchmark-json=build/kernels.json $(ARGS) </dev/null
	@$(PY) -m neoc.bench.kernels.table build/kernels.json --write docs/kernels.md

bench-trees: $(FULL)  ## tree models against XGBoost and its peers: the table of docs/tree-compiler.md
	@$(PIP) -e '.[$(EXTRAS),trees-bench]' </dev/null
	@# The last LLVM that lleaves compiles with; it only ever meets it in a process of its own.
	@[ -d build/trees/llvmlite-0.44 ] || $(PY) -m pip --quiet install --no-deps --target build/trees/llvmlite-0.44 llvmlite==0.44.0 </dev/null
	@$(PY) -m neoc.bench.trees --write docs/tree-compiler.md $(ARGS) </dev/null

prove-trees: $(FULL)  ## 60 XGBoost ensembles, LightGBM and scikit-learn models to the bit: the proof in docs/tree-compiler.md
	@$(PY) -m neoc.bench.trees_proof --write docs/tree-compiler.md $(ARGS) </dev/null

fuzz: $(FULL)  ## 2,000 damaged models through the front end
	@$(PY) tests/fuzz/fuzz_onnx.py --count 2000 $(ARGS) </dev/null

fuzz-torch: $(FULL)  ## 2,000 damaged PyTorch files and archives through their front ends
	@$(PY) tests/fuzz/fuzz_torch.py --count 2000 $(ARGS) </dev/null

fuzz-trees: $(FULL)  ## 2,000 tree ensembles, sound and malformed, against unreadable pages, at every x86 level of this machine
	@$(PY) tests/fuzz/fuzz_trees.py --designs $(ARGS) </dev/null
	@$(PY) tests/fuzz/fuzz_trees.py --count 2000 $(ARGS) </dev/null

fuzz-skops: $(FULL)  ## 2,000 damaged scikit-learn files through their reader
	@$(PY) tests/fuzz/fuzz_skops.py --count 2000 $(ARGS) </dev/null

conformance: $(FULL)  ## ONNX's own backend suite, all 2,033 tests, against tests/conformance/baseline.json
	@$(PY) tests/conformance/run.py $(ARGS) </dev/null

conformance-rewrites: $(FULL)  ## every exact rewrite on ONNX's own backend suite: 0 results may change
	@$(PY) -m pytest --slow tests/compile/rewrites/test_backend_suite.py -q $(ARGS) </dev/null

conformance-neuron: $(FULL)  ## ONNX's 1,884 node tests through the HLO path, against tests/conformance/hlo_baseline.json
	@$(PY) tests/conformance/run_hlo.py $(ARGS) </dev/null

host-matrix: $(FULL)  ## every target against every host of tests/data/hosts.toml: who runs what, the slowest refusal
	@$(PY) tests/targets/print_host_matrix.py $(ARGS) </dev/null

check-mutants: $(FULL)  ## 200 faults planted in real models: does neoc check --target inf2 name each and nothing else
	@$(PY) tests/fuzz/check_mutants.py $(ARGS) </dev/null

inferentia: $(FULL)  ## real models compiled for Inferentia2, each compared with its source: the table of docs/inferentia.md
	@$(PY) -m neoc.bench.inferentia $(ARGS) </dev/null

cubins: $(FULL)  ## real models compiled for NVIDIA chips, what their kernels take: the table of docs/nvidia.md
	@$(PY) -m neoc.bench.cubins $(ARGS) </dev/null

emulated: $(FULL)  ## real models compiled for ARM chips and run by qemu as those chips: the table of docs/arm.md
	@$(PY) -m neoc.bench.emulated $(ARGS) </dev/null

optional-packages:  ## what ARM artifacts are linked and run with, from the system's package manager (root, or sudo)
	@.ci/optional-packages

clean:  ## remove the environment and everything generated
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- environment ---------------------------------------------------------------------------

$(CORE): | $(VENV)/.usable
	@[ -e $(FULL) ] || { echo "installing neoc and OpenVINO into $(VENV)"; $(PIP) -e '.[openvino]' </dev/null; }
	@touch $@

$(FULL): | $(VENV)/.usable
	@echo "installing neoc with everything that its tests use into $(VENV) (once, about a gigabyte)"
	@$(PIP) -e '.[$(EXTRAS)]' </dev/null
	@# Its command line pins one numpy and a database client; its analysis, all that neoc uses, takes any numpy.
	@$(PIP) --no-deps apache-otava </dev/null
	@touch $@

$(VENV)/.usable:
	@.ci/make-venv $(VENV)
	@touch $@
