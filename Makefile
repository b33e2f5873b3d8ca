# Mimique. `make help` lists the targets; each sets up what it needs in .venv first.

EMOTION ?= fear
COUNT   ?=
OUT     ?=
ARGS    ?=
MINUTES ?= 60
# auto: tests run with the network cut off where the machine allows it; must: fail where it does not; no: never.
OFFLINE ?= auto
# First Python on the path that is new enough and starts.
PYTHON  ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1 && echo "$$python" && break; done)

VENV    := .venv
BIN     := $(VENV)/bin
# Made only after an install ran to its end, so an interrupted one is done again.
RUNTIME := $(VENV)/installed-runtime
DEV     := $(VENV)/installed-dev
DOCS    := $(VENV)/installed-docs
# For who clones: every package of the design, where a wheel brings those that making and reading faces need.
EXTRAS  := train,eval,deepface,studio
PIP     := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install sample studio chromium test fuzz torture audit wheel lint train docs clean

help:
	@echo "make install               set up .venv; then: source .venv/bin/activate"
	@echo "make sample EMOTION=fear   generate verified faces (COUNT=16  OUT=folder  ARGS='--seed 1 --intensity 0.6')"
	@echo "make studio                open the page in the browser: make, edit, read faces, build sets (ARGS='--port 9000')"
	@echo "make chromium              Debian's Chromium, in which the tests of the page run; skipped by them where it is absent"
	@echo "make train                 train tokenizer and prior on drawn faces (ARGS='--config configs/vqvae/base.yaml')"
	@echo "make test                  format, lint, types and tests, network cut off (OFFLINE=auto|must|no  ARGS='-k name')"
	@echo "make fuzz MINUTES=60       broken inputs of every kind, with bounds on time and memory; see SECURITY.md"
	@echo "make torture MINUTES=60    programs killed at any moment, on full disks and so on; nothing may be lost; see SECURITY.md"
	@echo "make audit                 holes known of the packages in constraints.txt; needs a network"
	@echo "make wheel                 build the wheel and try it in an empty environment; no network; two minutes"
	@echo "make docs                  the pages under docs/ as a site that needs no network: build/site/index.html"
	@echo "make lint                  format, lint and types only"
	@echo "make clean                 remove caches and build files; keeps .venv, runs and outputs"

install: $(RUNTIME)
	@echo "$(VENV) is ready; now type: source $(BIN)/activate"

sample: $(RUNTIME)
	$(BIN)/python -m generation.sample --emotion "$(EMOTION)" $(if $(COUNT),--count "$(COUNT)") $(if $(OUT),--out "$(OUT)") $(ARGS)

studio: $(RUNTIME)
	$(BIN)/python -m generation.studio --open $(ARGS)

chromium:
	command -v chromium > /dev/null || { apt-get update && apt-get install --yes --no-install-recommends chromium; }

train: $(RUNTIME)
	$(BIN)/python -m vqvae.train $(ARGS)

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python .ci/offline.py "$(OFFLINE)" $(BIN)/python -m pytest $(ARGS)

fuzz: $(DEV)
	$(BIN)/python -m tests.fuzz --minutes "$(MINUTES)" $(ARGS)

torture: $(DEV)
	$(BIN)/python -m tests.torture --minutes "$(MINUTES)" $(ARGS)

audit: $(DEV)
	$(BIN)/python .ci/audit.py $(ARGS)

wheel: $(DEV)
	$(BIN)/python .ci/wheel.py

docs: $(DOCS)
	$(BIN)/mkdocs build --clean
	@echo "open build/site/index.html"

# A folder left by an interrupted or failed `python -m venv` has no working pip: it is made again.
define MAKE_VENV
@if ! $(PIP) --version > /dev/null 2>&1; then \
	if ! "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1; then \
		echo "error: $(if $(PYTHON),$(PYTHON) is not,found no) Python 3.11 or newer; install one, or name it: make PYTHON=/path/to/python3.11 ..." >&2; \
		exit 2; \
	fi; \
	echo "making $(VENV) with $(PYTHON); the first install takes some minutes and about 7 GB"; \
	"$(PYTHON)" -m venv --clear $(VENV); \
fi
endef

$(RUNTIME): pyproject.toml constraints.txt
	$(MAKE_VENV)
	@rm -f $(RUNTIME)
	$(PIP) install -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $(RUNTIME)

$(DEV): pyproject.toml constraints.txt
	$(MAKE_VENV)
	@rm -f $(DEV) $(RUNTIME)
	$(PIP) install -c constraints.txt -e '.[dev,$(EXTRAS)]'
	@touch $(RUNTIME) $(DEV)

$(DOCS): pyproject.toml constraints.txt
	$(MAKE_VENV)
	@rm -f $(DOCS) $(RUNTIME)
	$(PIP) install -c constraints.txt -e '.[docs,$(EXTRAS)]'
	@touch $(RUNTIME) $(DOCS)

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
