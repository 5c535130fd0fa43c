# `make run` shows the main job, `make test` passes all tests. Both set up what they need inside this folder.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: setup run test check proto bench kubernetes lock format clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt tools/setup.py
	@$(PYTHON) tools/setup.py $(VENV)
	@touch $@

run: setup ## Receiver, store, forwarder and handlers on this machine, with a simulated CometChat.
	@$(BIN)/python -m tools.demo

test: setup ## Every layer of tests that this machine can carry.
	@$(BIN)/python -m tools.layers

check: setup ## Formatting, types, architecture, contract: what `make test` runs first.
	@$(BIN)/python -m tools.check

proto: setup ## Generate the Python beside the .proto files.
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/generate_protos.py

bench: setup ## Measurements, as ratios within one run.
	@$(BIN)/python -m bench $(BENCH)

kubernetes: setup ## Find or build etcd, kube-apiserver and kubectl, which the tests of the operator run for real.
	@$(BIN)/python -m tools.kubernetes

lock: setup ## Write constraints.txt anew from pyproject.toml.
	@$(BIN)/uv pip compile --quiet --universal --all-extras --generate-hashes --no-header --no-emit-index-url \
		--no-emit-find-links --no-annotate --python-version 3.11 $(LOCKFLAGS) pyproject.toml -o constraints.txt

format: setup ## Let ruff mend what it can.
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

clean: ## Remove what set-up and runs have made.
	rm -rf $(VENV) .hookline .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
