# The course's commands, a line each. The first of them that is used makes .venv with the locked packages.
#   make lab · make test · make test NB=01 · make notebooks NB=01 · make train RECIPE=vae-digits · make lab PORT=8890
#   PYTHON=python3.12 chooses the Python that makes .venv; TORCH=cpu takes PyTorch without CUDA (Linux, smaller).
SHELL := /bin/sh
ifeq ($(OS),Windows_NT)
VENV := .venv/Scripts/python.exe
else
VENV := .venv/bin/python
endif
export PYTHON TORCH
# PyTorch's threads sleep while they wait, instead of spinning: beside a busy neighbour, a step on two cores takes 19 ms, not 400.
export OMP_WAIT_POLICY ?= PASSIVE
# glibc keeps large blocks of memory instead of handing them back after each step (see tools/common.py).
export MALLOC_MMAP_THRESHOLD_ ?= 1000000000
export MALLOC_TRIM_THRESHOLD_ ?= 2000000000

.DEFAULT_GOAL := help
.PHONY: help setup lab test notebooks train results bench picture faces lint lock

help:       ## print this list
	@sed -n 's/^\([a-z]*\): .*## \(.*\)/  make \1@\2/p; s/^\([a-z]*\):  *## \(.*\)/  make \1@\2/p' $(firstword $(MAKEFILE_LIST)) \
	  | awk -F@ '{ printf "%-18s %s\n", $$1, $$2 }'

setup:      ## make or complete .venv (the others do it themselves) [PYTHON= TORCH=cpu]
	@python=$$(sh tools/find_python.sh) && "$$python" -m tools.make_venv

lab: setup  ## open the course in JupyterLab [PORT=8888]
	@$(VENV) -m tools.lab $(if $(PORT),--port '$(PORT)')

test: setup ## ruff, unit tests, and every notebook against its stored outputs [NB=01]
	@$(VENV) -m tools.test $(if $(NB),--nb '$(NB)')

notebooks: setup ## execute the notebooks again, tidy them, show what changed in their text [NB=01]
	@$(VENV) -m tools.notebooks $(if $(NB),--nb '$(NB)')

train: setup ## train one of the course's models into data/checkpoints [RECIPE=name]
	@$(VENV) -m course_lib train $(RECIPE)

results: setup ## make every stored model and table of the course again
	@$(VENV) -m course_lib run --all

bench: setup ## measure the course's code against textbook loops, in one run
	@$(VENV) -m benchmarks.measures
	@$(VENV) -m benchmarks.diffusion

picture: setup ## draw README's picture again
	@$(VENV) -m tools.picture

faces:      ## draw data/faces.npz again, the same bytes (needs Node.js 20 or newer and a network)
	@cd data/make_faces && npm ci --no-audit --no-fund && node make_faces.mjs

lint: setup ## ruff over library, tools, tests and notebooks
	@$(VENV) -m ruff check .

lock: setup ## refresh requirements.lock to the newest versions that fit
	@$(VENV) -m tools.lock
