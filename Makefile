# Every target makes `.venv` first, from the pinned versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
TWO_WORKERS := --numprocesses 2 --dist loadfile

.PHONY: demo test test-all tpu-check torch-check docs lint format bench clean
.DELETE_ON_ERROR:

.venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps jax2onnx
	touch $@

demo: $(STAMP)
	$(BIN)/python examples/demo.py

test: $(STAMP)
	$(BIN)/python -m pytest --quiet $(TWO_WORKERS)

test-all: $(STAMP)
	$(BIN)/python -m pytest --quiet $(TWO_WORKERS) -m ''

# Compiles for a TPU slice, on any Linux machine; libtpu is 700 MB, so not in .venv yet.
tpu-check: $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,tpu]'
	$(BIN)/python -m pytest --quiet -m tpu

# Compares with PyTorch. Only this needs it, and its usual build for Linux brings gigabytes
# of CUDA, so it is neither in constraints.txt nor in .venv yet; PIP_EXTRA_INDEX_URL may name
# an index of builds without.
torch-check: $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pytest --quiet -m torch

# The site, in build/docs; it executes the tutorial. Every page anew, so that what it warns
# of does not depend on what was built before.
docs: $(STAMP)
	$(BIN)/python -m sphinx -W --keep-going --fresh-env --quiet docs build/docs

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv build dist
