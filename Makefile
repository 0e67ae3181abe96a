# Two commands do everything: `make run` (the main job) and `make test`. Both install what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: run venv test check bench docs clean
run: $(READY)
	$(BIN)/edgesim run scenarios/quickstart.yaml
	$(BIN)/edgesim plot frontier results/quickstart
venv: $(READY)
test: $(READY)
	$(BIN)/python -m pytest -n 2
check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("edgesim needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 " ) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@
bench: $(READY)
	$(BIN)/python -m benchmarks
docs: $(READY)
	$(BIN)/edgesim schema > docs/scenario.schema.json
	$(BIN)/edgesim schema --markdown > docs/scenario.md
clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
