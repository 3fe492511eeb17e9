# mdgan_hpc: `make demo` sets up and runs the main job on real SIESTA output, `make test` the tests.

PYTHON ?= python3
BIN := .venv/bin
RUN := env OMP_NUM_THREADS=1 $(BIN)/mpiexec -n 2
DATA := tests/data/long
DEMO := demo
# Compiled modules are kept, whatever the environment says: hundreds of commands start here.
export PYTHONDONTWRITEBYTECODE :=
# Tests side by side: as many as there are cores to spare.
JOBS ?= 2
TEST := $(BIN)/python -m pytest --numprocesses $(JOBS)

.PHONY: help venv lock demo test test-slow test-chaos test-gpu zoo reference test-cluster lint format benchmarks clean \
    image-cpu image-cpu-docker image-cuda image-rocm image-cpu-test
.DELETE_ON_ERROR:

help:
	@echo "make demo          set up .venv, then SIESTA runs -> model -> trajectories -> D, with figures"
	@echo "make test          set up .venv, then all tests but the long ones; JOBS=8 for eight at once"
	@echo "make test-slow     known answers: processes whose D is known (a quarter of an hour)"
	@echo "make test-chaos    damaged inputs, kills, two writers: thousands (over a quarter of an hour)"
	@echo "make test-gpu      on a GPU, numbers and speed of each part (PYTHON with PyTorch, nothing installed); PIECE=training"
	@echo "make zoo           worlds of many kinds, simulated, learned and compared (hours; docs/zoo.md)"
	@echo "make test-cluster  every job script on a real Slurm (root, Debian)"
	@echo "make lint          ruff, mypy, import-linter, shellcheck"
	@echo "make benchmarks    speed against peers, one table"
	@echo "make image-cpu     an Apptainer image (also image-cpu-docker, -cuda, -rocm); image-cpu-test tries it"
	@echo "make reference     renew docs/reference from the commands and configurations"
	@echo "make lock          renew requirements.lock"
	@echo "make clean         remove .venv and the demo"

venv: .venv/installed

.venv/installed: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock --editable '.[mpi,test]'
	@touch $@

# Newer versions: installed into an environment of its own without the lock, then written down.
lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet --disable-pip-version-check '.[mpi,zstd,tensorboard,test,ovito,zoo]'
	{ sed -n '/^#/p' requirements.lock; .venv-lock/bin/pip list --format=freeze \
	    --exclude mdgan-hpc --exclude pip --exclude setuptools --exclude wheel | sed 's/+.*//' | sort -f; } \
	    >requirements.new
	mv requirements.new requirements.lock
	rm -rf .venv-lock

# The demo. Every stage leaves a finished file or none, so a run that was stopped goes on.

RUNS := $(DEMO)/run1.h5 $(DEMO)/run2.h5 $(DEMO)/run3.h5

demo: .venv/installed $(DEMO)/msd.json
	@echo "== report"
	@$(RUN) $(BIN)/mdgan-report $(addprefix --md ,$(RUNS)) --generated $(DEMO)/generated.h5 -o $(DEMO)/report

$(DEMO)/run%.h5: | .venv/installed
	@echo "== convert: $(DATA)/run$*"
	@$(BIN)/mdgan-convert $(DATA)/run$* -o $@ --select Li --drift all

$(DEMO)/model/model.pt: $(RUNS) configs/demo.toml
	@echo "== train"
	@$(RUN) $(BIN)/mdgan-train configs/demo.toml $(addprefix --data ,$(RUNS)) --out $(DEMO)/model \
	    --replicas 3 --set phase.steps=340 \
	    --set generator.calibration_ions=256 --set generator.calibration_records=1000

$(DEMO)/generated.done: $(DEMO)/model/model.pt
	@echo "== generate"
	@$(RUN) $(BIN)/mdgan-generate $(DEMO)/model -o $(DEMO)/generated.h5 --particles 256 --records 10000 --seed 1
	@touch $@

$(DEMO)/msd.json: $(DEMO)/generated.done
	@echo "== msd"
	@$(RUN) $(BIN)/mdgan-msd $(DEMO)/generated.h5 -o $@ --force

test: .venv/installed
	$(TEST) --dist loadfile -m "not benchmark and not slow and not chaos"

# Processes whose D and alpha2 are known, learned and generated: about a quarter of an hour of two cores.
test-slow: .venv/installed
	$(TEST) --dist load -m slow tests/training/test_known_answers.py

# Inputs damaged by chance, kills, writers at once: more than a quarter of an hour. More inputs:
# MDGAN_DAMAGED_INPUTS=5000 make test-chaos. Others: MDGAN_CHAOS_SEED=2
test-chaos: .venv/installed
	$(TEST) --dist worksteal -rP --show-capture stdout -m chaos tests/chaos

# What a GPU is needed for, by a Python with PyTorch for it; in small where there is none. Each piece
# takes minutes: PIECE="numbers training". DATA=lzp.pt: runs that tests.gpu.worlds wrote.
PIECE ?=
test-gpu:
	$(PYTHON) -m tests.gpu $(PIECE) $(if $(DATA),--data $(DATA)) --out gpu.json

# Worlds that the form of the model was not chosen on: half an hour of a core for each and each seed.
# Stopped, it goes on; the table of docs/zoo.md is renewed at the end.
zoo: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock --editable '.[zoo]'
	env OMP_NUM_THREADS=1 $(BIN)/python -m tests.zoo --folder work/zoo --table

# The reference pages, from the commands and configuration classes themselves.
reference: .venv/installed
	$(BIN)/python -m mdgan_hpc.cli.reference

# On a real Slurm that the tests install and start themselves: as root, on Debian.
test-cluster: .venv/installed
	tests/cluster/install.sh
	$(BIN)/python -m pytest -m slow tests/cluster

image-cpu image-cpu-docker image-cuda image-rocm:
	containers/build.sh $(patsubst image-%,%,$@)

image-cpu-test: .venv/installed
	tests/containers/build_and_test.sh

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	git ls-files -z '*.sh' '*.slurm' .ci/run | xargs -0 --no-run-if-empty $(BIN)/shellcheck -x

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

benchmarks: .venv/installed
	$(BIN)/python -m pytest -m benchmark -s tests/benchmarks

clean:
	rm -rf .venv $(DEMO)
