# Two commands, each on a machine with only Python 3.11 or newer and make:
#   make demo    a pool with planted structure, and a selection from it
#   make test    everything CI runs
#
# Torch is the CPU build where pip finds one; to name an index that has it, or to take the build
# with CUDA instead:
#   make test TORCH_INDEX=<PyTorch's CPU index>
#   make demo CUDA=1

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
CUDA ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)
INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
DEMO ?= demo-out

.PHONY: demo test lint clean

demo: $(VENV)/.models
	$(BIN)/visift demo --output $(DEMO)

test: $(VENV)/.dev lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --cov=visift --cov-report=term:skip-covered

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/.pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "visift needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q --upgrade "pip>=25.1"
	touch $@

$(VENV)/.models: $(VENV)/.pip pyproject.toml constraints.txt
	$(if $(CUDA),,$(PIP) install -q $(INDEX) "torch==$(TORCH)+cpu" 2>/dev/null ||) \
	$(PIP) install -q $(INDEX) "torch==$(TORCH)"
	$(PIP) install -q -c constraints.txt -e ".[models]"
	touch $@

$(VENV)/.dev: $(VENV)/.models
	$(PIP) install -q -c constraints.txt torchvision --group dev
	touch $@

clean:
	rm -rf $(VENV) $(DEMO) .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
