# Two commands: `make book` and `make test`. `make help` tells the rest.
# Every setting below can be given on the command line: make book PROFILE=full

PYTHON ?= python3
DATASET ?= phantom
DATA_DIR ?=
POSITIVE ?=
PROFILE ?= quick
SEED ?= 24
JOBS ?=
ONLY ?=
GPU ?=
TESTS ?=
OLDER_THAN ?=
LIMIT ?=
DRY_RUN ?=
MODEL ?=
PORT ?=
SOLUTIONS ?=

VENV := .venv
RUN := $(VENV)/bin/python
COURSE := $(RUN) -m helpers
READY := $(VENV)/.ready$(if $(GPU),-gpu)
# A value in single quotes for the shell, whatever quotes it holds itself.
quoted = '$(subst ','\'',$(1))'
SETTINGS = --dataset $(call quoted,$(DATASET)) --profile $(call quoted,$(PROFILE)) \
	--seed $(call quoted,$(SEED)) \
	$(if $(JOBS),--jobs $(call quoted,$(JOBS))) \
	$(if $(DATA_DIR),--data-dir $(call quoted,$(DATA_DIR))) \
	$(if $(POSITIVE),--positive $(call quoted,$(POSITIVE))) \
	$(foreach chapter,$(ONLY),--only $(call quoted,$(chapter)))

# Whether the environment was made in this folder: its programs name the folder they were made in.
MADE_HERE := grep -qsF "$$(cd $(VENV) && pwd -P)/bin/" $(VENV)/bin/pip

.PHONY: help book run pdf verify app test check clean clean-artifacts distclean moved
.DEFAULT_GOAL := help

help:
	@echo "make book       environment, every stale chapter, the book in _build/html/index.html"
	@echo "                DATASET=phantom|cnmc|taleqani|all_idb|snam  DATA_DIR=folder of a real set"
	@echo "                DATASET=folders  DATA_DIR=folder of your own  POSITIVE=name of a class folder"
	@echo "                PROFILE=smoke|quick|full  SEED=24  ONLY=\"04 06\"  GPU=1"
	@echo "                JOBS=2  chapters at a time; else as many as cores and memory allow"
	@echo "make run        the same without building the book"
	@echo "make pdf        the published book as PDF, by Chromium; SOLUTIONS=1: with solutions"
	@echo "make verify     every executed chapter once more: its text outputs must come out the same"
	@echo "make app        the web app: upload a cell, see the answer, verify it; MODEL=run  PORT=7860"
	@echo "make test       environment and every test; TESTS=tests/unit for a part of them"
	@echo "make check      style of the code, anatomy of the chapters: seconds"
	@echo "make clean      remove what was built (_build); artifacts stay"
	@echo "make clean-artifacts  OLDER_THAN=days  LIMIT=gigabytes  DRY_RUN=1: remove artifacts"
	@echo "make distclean  remove _build, artifacts and the environment too"

book: $(READY)
	@$(COURSE) book $(SETTINGS)

run: $(READY)
	@$(COURSE) run $(SETTINGS)

pdf: $(READY)
	@$(COURSE) pdf $(if $(SOLUTIONS),--solutions) \
		$(foreach chapter,$(ONLY),--only $(call quoted,$(chapter)))

verify: $(READY)
	@$(COURSE) verify $(SETTINGS)

app: $(READY)
	@$(COURSE) app $(if $(MODEL),--model $(call quoted,$(MODEL))) \
		$(if $(PORT),--port $(call quoted,$(PORT)))

# The unit tests side by side, then the chapters, which use all cores by themselves, then all
# other tests, on the book that the chapters made. TensorFlow in each worker: more than four of
# them would want more memory than a usual machine has.
test: check
ifdef TESTS
	@$(RUN) -m pytest $(TESTS)
else
	@$(RUN) -m pytest -m fast --numprocesses auto --maxprocesses 4 --dist loadfile
	@$(RUN) -m pytest tests/unit -m slow --numprocesses auto --maxprocesses 2 --dist loadfile \
		--no-loadscope-reorder --durations 25
	@smoke=$$(mktemp -d) && trap 'rm -rf "$$smoke"' EXIT && export COURSE_SMOKE_BUILD="$$smoke/_build" && \
		$(RUN) -m pytest tests/notebooks/test_chapters.py --durations 25 && \
		$(RUN) -m pytest --ignore tests/unit --ignore tests/notebooks/test_chapters.py \
			--numprocesses auto --maxprocesses 2 --dist loadfile --durations 25
endif

check: $(READY)
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check --exclude notebooks .
	@$(VENV)/bin/lint-imports --no-logo --no-cache
	@$(COURSE) check

# The stamp is made last: an installation that failed is not taken for done, and one
# that is done costs nothing.
$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "The course needs Python 3.11, 3.12 or 3.13, but '$(PYTHON)' is" \
		"$$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@rm -f $(VENV)/.ready $(VENV)/.ready-gpu
	@$(MADE_HERE) && $(RUN) -c 'import sys, pip' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV) || { \
		echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Installing the environment into $(VENV), once."
	@$(RUN) -m pip install --quiet -r requirements.lock
	@$(RUN) -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# A clone that was renamed, moved or copied makes its environment anew.
ifeq ($(shell test ! -e $(VENV)/.ready || $(MADE_HERE) || echo moved),moved)
$(VENV)/.ready: moved
moved:
	@echo "The environment in $(VENV) was made for another folder: it is made anew."
endif

# CUDA comes as packages of NVIDIA's; every other version stays as the lock has it.
$(VENV)/.ready-gpu: $(VENV)/.ready
	@$(RUN) -m pip install --quiet --no-build-isolation -c requirements.lock -e '.[gpu]'
	@touch $@

# The lock stays: a run that goes on holds it, and the next one must wait for it.
clean:
	[ ! -d _build ] || find _build -mindepth 1 -maxdepth 1 ! -name .lock -exec rm -rf {} +
	rm -rf .pytest_cache .ruff_cache .hypothesis .benchmarks

clean-artifacts: $(READY)
	@$(COURSE) clean $(if $(OLDER_THAN),--older-than $(call quoted,$(OLDER_THAN))) \
		$(if $(LIMIT),--limit $(call quoted,$(LIMIT))) $(if $(DRY_RUN),--dry-run)

distclean: clean
	rm -rf _build artifacts $(VENV) *.egg-info
