# tetrit: `make` alone lists what there is. Set-up happens by itself, once, in .venv; `make PYTHON=/path/to/python3` chooses the Python.

PYTHON ?=
PYTEST_ARGS ?= -n auto --dist worksteal
VENV := .venv
BIN := $(VENV)/bin
# the package as it is installed, out of links, for tools that read folders
TREE := $(BIN)/python tools/tree.py

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help sim test lint types bench tables docs spice clean

help: ## list these targets
	@echo 'make TARGET   (the first run of any of them sets up $(VENV))'
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r target text; do printf '%-9s %s\n' "$$target" "$$text"; done

sim: $(VENV)/ready-run ## the main jobs: digits networks trained, mapped, simulated, verified and costed; in build/digits and build/cnn
	$(BIN)/tetrit run examples/digits/digits.toml --out build/digits
	$(BIN)/tetrit run examples/cnn/cnn.toml --out build/cnn

test: $(VENV)/ready-test ## all tests; PYTEST_ARGS='-n0 tests/formats' for some of them
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/ready-test ## style (ruff) and import rules (import-linter)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(TREE)
	cd build/tree && ../../$(BIN)/lint-imports --no-logo --config ../../pyproject.toml --no-cache

types: $(VENV)/ready-test ## mypy, strict, on the whole package
	@$(TREE)
	cd build/tree && ../../$(BIN)/mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache -p tetrit

bench: $(VENV)/ready-test $(VENV)/peers ## speed beside the peers; figures in build/bench
	@set -e; for script in bench/bench_*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

tables: $(VENV)/ready-test ## the tables of the manual, by synthesis; long the first time, the same bytes unless code changed
	$(BIN)/python tools/tables

docs: $(VENV)/ready-docs ## the manual, in build/site; a warning is an error
	@$(TREE)
	$(BIN)/mkdocs build --strict --quiet --site-dir build/site
	@echo 'open build/site/index.html'

spice: $(VENV)/ready-test ## the crossbar's reference cases, solved again by ngspice; needs ngspice installed
	$(BIN)/python tools/spice.py

clean: ## remove all that was built, but not .venv
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# --- set-up: one stamp for each set of extras ---

$(VENV)/ready-run: EXTRAS = run,rtl
$(VENV)/ready-run: NEEDS = simulate
$(VENV)/ready-test: EXTRAS = test
$(VENV)/ready-test: NEEDS = simulate headers
$(VENV)/ready-docs: EXTRAS = docs
$(VENV)/ready-docs: NEEDS =

PIP := PYTHONWARNINGS=ignore PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 \
    $(BIN)/python -m pip --quiet --no-input

# $(error) prints one line and leaves with code 2
preflight = $(eval found := $(shell sh tools/preflight.sh '$(PYTHON)' $(NEEDS)))$(if $(filter ok,$(firstword $(found))),,$(error $(found)))

$(VENV)/peers: bench/peers.txt $(VENV)/ready-test
	@$(PIP) install --no-deps --requirement bench/peers.txt
	@touch $@

# the pinned pip first: the one that comes with Python may be too old. It takes the pins of build environments from its own variable
$(VENV)/ready-%: constraints.txt pyproject.toml setup.py
	$(preflight)@echo 'Setting up $(VENV) with $(lastword $(found)) for [$(EXTRAS)]: a minute or two, once'
	@$(BIN)/python -c '' 2>/dev/null || $(lastword $(found)) -m venv --clear $(VENV)
	@$(PIP) install pip && $(PIP) install --editable '.[$(EXTRAS)]'
	@if [ '$*' = test ]; then sh tools/fashion.sh; sh tools/osu018.sh $(VENV)/osu018; sh tools/chromium.sh; fi
	@touch $@
