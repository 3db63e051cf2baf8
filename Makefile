# transfer_exp: `make help` lists what can be done.
PYTHON ?=
VENV ?= .venv
JOBS ?= $(if $(filter demo,$(MAKECMDGOALS)),2,1)
ARGS ?=

# Makes an environment whose file .ready is the target; again where it is of a Python that does not fit (see the script).
ENVIRONMENT := sh tools/environment.sh
OUTDATED = $(if $(wildcard $(1)/.ready),$(shell $(ENVIRONMENT) check '$(1)' $(PYTHON) || echo again))

BIN := $(VENV)/bin
READY := $(VENV)/.ready
RUN := $(BIN)/python -m transfer_exp
WORKERS := $(if $(filter-out 1,$(JOBS)),hydra/launcher=joblib hydra.launcher.n_jobs=$(JOBS))
STUDIES := mnist89-evasion mnist-evasion fashion-evasion mnist89-paths drebin215-evasion drebin-evasion mnist89-poisoning lfw-poisoning mnist-poisoning mnist-pairs-poisoning

NETWORKS := training-radius attacks optimum early-stopping ensembles batch-norm sam-radius regularisers width-depth targeted robust-targets
FOR_CLAIMS := poisoning-claims poisoning-threshold
# A study of networks on scikit-learn's digits, in under a minute, to see what it gives: make attacks ARGS='$(DIGITS)'
DIGITS := dataset=digits dataset.split.target=400 dataset.split.surrogate=400 dataset.split.test=100 seed=0 n_variability=2 target=mlp_low

.DEFAULT_GOAL := help
.PHONY: again help setup demo test test-slow test-kernels bench docs notebooks mutants rooms lint types format ui reproduce network-studies claims clean
.PHONY: $(STUDIES) $(NETWORKS) $(FOR_CLAIMS)

help:  ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'
	@echo
	@echo '  JOBS=2 runs two workers, as the demo does; ARGS="seed=0,1" adds overrides; VENV=folder, PYTHON=python3.12: another environment.'

setup: $(READY)  ## make the virtual environment

$(READY): pyproject.toml constraints.txt $(call OUTDATED,$(VENV))
	@$(ENVIRONMENT) make '$(VENV)' dev $(PYTHON)

demo: $(READY)  ## a small real study: prints a transfer matrix, writes a report (about a minute on 2 cores, no download)
	$(RUN) experiment=digits89_evasion $(WORKERS) $(ARGS)

test: $(READY)  ## the tests, in two processes (at most 4 minutes; ARGS="-n 0": in one)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 $(ARGS)

test-slow: $(READY)  ## the longer checks
	$(BIN)/python -m pytest -q -m slow $(ARGS)

test-kernels: $(READY)  ## the numerical tests on the arithmetic of six kinds of processors (ARGS=--quick: some, on two)
	$(BIN)/python tests/kernels.py $(ARGS)

bench: $(VENV)-bench/.ready  ## speed, as ratios in one table (real MNIST; ARGS=--quick: small sizes; ARGS="-k peers": a part)
	OMP_NUM_THREADS=1 $(VENV)-bench/bin/python -m pytest -c benchmarks/pytest.ini benchmarks $(ARGS)

$(VENV)-bench/.ready: pyproject.toml constraints.txt $(call OUTDATED,$(VENV)-bench)
	@$(ENVIRONMENT) make '$(VENV)-bench' bench $(PYTHON)

docs: $(VENV)-docs/.ready  ## the documentation as a site, site/index.html (dead links are errors)
	NO_MKDOCS_2_WARNING=1 $(VENV)-docs/bin/python -m mkdocs build --strict $(ARGS)

notebooks: $(VENV)-docs/.ready  ## run the tutorials; their outputs are shown in the site (two minutes; ARGS=paper: one)
	OMP_NUM_THREADS=1 $(VENV)-docs/bin/python tools/notebooks.py $(ARGS)

$(VENV)-docs/.ready: pyproject.toml constraints.txt $(call OUTDATED,$(VENV)-docs)
	@$(ENVIRONMENT) make '$(VENV)-docs' docs $(PYTHON)

mutants: $(VENV)-mutants/.ready  ## do the tests see one-line faults? (220 of them in under an hour; ARGS="--seed=1 --n=40": others, fewer)
	$(VENV)-mutants/bin/python tests/mutants.py $(ARGS)

$(VENV)-mutants/.ready: pyproject.toml constraints.txt $(call OUTDATED,$(VENV)-mutants)
	@$(ENVIRONMENT) make '$(VENV)-mutants' mutants $(PYTHON)

rooms: $(READY)  ## draw the rooms of the package, from its imports: docs/rooms.svg
	$(BIN)/python tools/rooms.py

lint: $(READY)  ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## strict types of the package
	$(BIN)/mypy

format: $(READY)  ## format and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

mnist89-evasion: $(READY)  ## study: evasion on MNIST 8 against 9 (2,400 combinations)

mnist-evasion: $(READY)  ## study: evasion on MNIST, ten classes, l2 and linf (1,680 combinations)

fashion-evasion: $(READY)  ## study: the same on Fashion-MNIST (1,680 combinations)

mnist89-paths: $(READY)  ## study: transfer along C, alpha, gamma, weight decay, width (3,198 combinations)

drebin215-evasion: $(READY)  ## study: added features on Drebin-215 (2,400 combinations)

drebin-evasion: $(READY)  ## study: added features on DREBIN, the paper's sizes (needs its data; days)

mnist89-poisoning: $(READY)  ## study: poisoning on MNIST 8 against 9 (960 combinations)

lfw-poisoning: $(READY)  ## study: poisoning on faces (960 combinations)

mnist-poisoning: $(READY)  ## study: poisoning on MNIST, ten classes (240 combinations)

mnist-pairs-poisoning: $(READY)  ## study: poisoning on all 45 pairs of MNIST digits, linear learners (2,160 combinations)

training-radius: $(READY)  ## networks as surrogates: adversarial training at six radii (180 combinations)

attacks: $(READY)  ## networks as surrogates: nine transfer attacks at equal cost (594 combinations)

optimum: $(READY)  ## attacks stopped at shares of the optimum (600 combinations)

early-stopping: $(READY)  ## networks as surrogates: checkpoints of one training (360 combinations)

ensembles: $(READY)  ## ensembles of 1, 2, 4 and 8 networks of one family and of two (330 combinations)

batch-norm: $(READY)  ## networks as surrogates: with and without batch norm (480 combinations)

sam-radius: $(READY)  ## networks as surrogates: SAM at five radii, and checkpoints (330 combinations)

regularisers: $(READY)  ## networks as surrogates: label smoothing, mixup, gradient penalty, SAM (300 combinations)

width-depth: $(READY)  ## surrogates along width, depth, weight decay, C, alpha (1,200 combinations)

targeted: $(READY)  ## targeted attacks: three objectives, 10 to 300 steps (540 combinations)

robust-targets: $(READY)  ## surrogates and targets, adversarially trained or not (160 combinations)

network-studies: $(NETWORKS)  ## the eleven studies of networks, one after another (ARGS=dataset=fashion_mnist: on Fashion-MNIST)

poisoning-claims: $(READY)  ## poisoning: heuristics, tuned targets, a network, filters (400 combinations)

poisoning-threshold: $(READY)  ## poisoning: linear learners, 13 shares of points (60 combinations)

claims: $(READY)  ## the studies that the published claims need, and one page of verdicts (6 hours on 2 cores; ARGS=--quick: digits)
	OMP_NUM_THREADS=1 $(BIN)/python tools/claims.py --jobs=$(JOBS) $(ARGS)

$(STUDIES) $(NETWORKS) $(FOR_CLAIMS):
	$(RUN) experiment=$(subst -,_,$@) $(WORKERS) $(ARGS)

# DREBIN is given out on request only: without it, its study is left out.
DATA := $(or $(TRANSFER_EXP_DATA),$(or $(TRANSFER_EXP_ROOT),.)/data)
LEFT_OUT := $(if $(wildcard $(DATA)/drebin/sha256_family.csv $(DATA)/sha256_family.csv),,drebin-evasion)

reproduce: $(filter-out $(LEFT_OUT),$(STUDIES))  ## the studies of the paper and of ten classes, one after another
	$(if $(LEFT_OUT),@echo 'left out: $(LEFT_OUT): its data are not in $(DATA) (see conf/dataset/drebin.yaml)')

ui: $(READY)  ## MLflow's web page on the results, on this machine only: http://127.0.0.1:5000
	$(BIN)/python -m transfer_exp.ui $(ARGS)

clean:  ## remove caches and the environment; results stay
	rm -rf $(VENV) $(VENV)-bench $(VENV)-docs $(VENV)-mutants site .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
