# Everything a newcomer needs is `make run` and `make test`; both set up `.venv` by themselves.
# The targets are thin: the work is done by the `aios` command, pytest, ruff and mypy.

VENV := .venv
BIN  := $(VENV)/bin
DISK := build/disk.img
DISK_FILES := $(wildcard models/*.onnx models/*.npy)

# The first interpreter that AIos supports; `make PYTHON=... run` chooses another.
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))
PYTHON := $(shell for p in python3 python3.13 python3.12 python3.14 python3.11; do \
    $$p -c '$(SUPPORTED)' 2>/dev/null && echo $$p && break; done)

.PHONY: help run test debug bench lint size docs disk fuzz clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.run $(DISK)  ## boot AIos to its prompt
	@$(BIN)/aios run --drive $(DISK)

debug: $(VENV)/.run $(DISK)  ## step through the boot in the debugger
	@$(BIN)/aios debug --drive $(DISK)

test: $(VENV)/.dev  ## run the tests
	@$(BIN)/python -m pytest

lint: $(VENV)/.dev  ## check format, style and types
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy

fuzz: $(VENV)/.dev  ## look for guests that crash or hang the host or divide the engines, for two minutes
	@$(BIN)/python -m tests.safety.campaign 60 --seed $$(date +%s)
	@$(BIN)/python -m tests.cpu.agreement 60 --seed $$(date +%s)

bench: $(VENV)/.dev  ## measure the CPU engine, the time to the prompt, tensor instructions, devices
	@$(BIN)/aios bench cpu
	@$(BIN)/aios bench start
	@$(BIN)/aios bench tensor
	@$(BIN)/aios bench devices

docs: $(VENV)/.run  ## regenerate what is derived from declarations
	@$(BIN)/python -m emu.isa.docs > docs/isa.md
	@$(BIN)/python -m emu.devices.docs

size:  ## count lines per folder
	@for d in emu toolchain kernel_src asm examples tests bench; do \
	    printf '%-12s' $$d; \
	    git ls-files $$d | grep -E '\.(py|lark|kern|s|toml)$$' | xargs -r cat | wc -l; done

clean:  ## remove what was built (not the virtual environment)
	rm -rf build .pytest_cache .hypothesis .mypy_cache .ruff_cache

$(DISK): $(VENV)/.run $(DISK_FILES)
	@mkdir -p build
	@$(BIN)/aios disk create $@ $(DISK_FILES)

$(VENV)/.run: requirements/run.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "AIos needs Python 3.11 to 3.14, and none was found" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/run.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	@touch $@
