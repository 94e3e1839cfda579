# Every target makes `.venv` first, from the pinned versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
TWO_WORKERS := --numprocesses 2 --dist loadfile

.PHONY: demo test test-all tpu-check lint format bench clean
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
