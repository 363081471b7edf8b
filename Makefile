# Whisper OX. `make help` lists the targets; `make serve` and `make test` are all a newcomer needs.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2

# Not ?=: some shells export HOST, and a server must not open to the network because of that.
MODEL = base
MODELS =
HOST = 127.0.0.1
PORT = 8000
PROFILE = dev
METRICS_PORT =
USERS = 8
CHUNK = 15
MINUTES = 2
URL =

PY := $(VENV)/bin/python
PIP_INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check --no-input

.DEFAULT_GOAL := help
.PHONY: help serve transcribe test test-all test-unit lint format wer equality overhead bench bench-engine \
  bench-mixed soak loadtest capacity lock docs sbom audit clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(VENV)/.runtime ## Run the server (MODEL=base or MODELS=base,tiny.en HOST= PORT=8000 PROFILE=dev)
	@exec $(VENV)/bin/whisper-ox serve --config $(PROFILE) --host $(HOST) --port $(PORT) \
	  $(if $(SERVED),--model $(SERVED)) $(if $(METRICS_PORT),--metrics-port $(METRICS_PORT))

# Unless somebody chose models, the profile's own are served.
SERVED = $(or $(MODELS),$(if $(filter-out file,$(origin MODEL)),$(MODEL)))

transcribe: $(VENV)/.runtime ## Post FILE=x.wav to the running server and print the transcript
	@test -n "$(FILE)" || { echo 'usage: make transcribe FILE=speech.wav' >&2; exit 2; }
	@$(VENV)/bin/whisper-ox transcribe "$(FILE)" --output - --url http://$(HOST):$(PORT) $(ARGS)

test: lint ## Check style and types, then run all tests but the long ones, in JOBS=2 processes
	$(PYTEST) -m "not long" $(ARGS)

test-all: lint ## Run the long tests as well, and try more examples of each property
	$(PYTEST) --hypothesis-profile many $(ARGS)

test-unit: $(VENV)/.dev ## Run the tests that need no server, in seconds
	$(PY) -m pytest tests/unit -m "not long" $(ARGS)

# In the order of the folders, so that the servers, which take longest, come first.
PYTEST = $(PY) -m pytest --numprocesses $(JOBS) --no-loadscope-reorder

lint: $(VENV)/.dev ## Check style, format and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/hadolint Dockerfile Dockerfile.gpu

format: $(VENV)/.dev ## Format the code and fix what can be fixed
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

wer: $(VENV)/.dev ## Word error rates of our server and of plain faster-whisper, tiny.en and base
	$(PY) -m loadtest.bench.accuracy $(ARGS)

equality: $(VENV)/.dev ## Compare our text with plain faster-whisper's on every clip
	$(PY) -m loadtest.bench.accuracy --equal $(ARGS)

overhead: $(VENV)/.dev ## Time that the server adds to the engine's, for one idle 15 s request
	$(PY) -m loadtest.bench.overhead $(ARGS)

bench: $(VENV)/.dev ## Throughput and latency beside the naive server (MODEL=base)
	$(PY) -m loadtest.bench.throughput --model $(MODEL) --clients 16 --clients 1 --against naive $(ARGS)

bench-engine: $(VENV)/.dev ## The best that raw CTranslate2 reaches here, and how near serving comes
	$(PY) -m loadtest.bench.ceiling --model $(MODEL) --served $(ARGS)

bench-mixed: $(VENV)/.dev ## Dictation beside a two-hour file
	$(PY) -m loadtest.bench.endurance mixed --model $(MODEL) $(ARGS)

soak: $(VENV)/.dev ## Full load with clients that leave, for 20 minutes
	$(PY) -m loadtest.bench.endurance soak --model $(MODEL) --minutes 20 $(ARGS)

loadtest: $(VENV)/.dev ## People dictate (USERS=8 CHUNK=15 MINUTES=2 PROFILE=dev MODEL=base URL= ARGS=)
	$(PY) -m loadtest.run --users $(USERS) --chunk $(CHUNK) --minutes $(MINUTES) \
	  --profile $(PROFILE) --model $(MODEL) $(if $(URL),--url $(URL)) $(ARGS)

capacity: $(VENV)/.dev ## How many replicas a crowd needs (ARGS='--profile base-epyc-2c --users 40')
	@$(PY) -m loadtest.capacity $(ARGS)

docs: $(VENV)/.dev ## Write the generated pages of docs/ and the dashboard anew
	$(PY) -m tools.options_page > docs/options.md
	$(PY) -m tools.settings_page > docs/settings.md
	$(PY) -m tools.metrics_page > docs/metrics.md
	for profile in cpu gpu-t4 gpu-a10g gpu-a10g-multi; do \
	  $(PY) -m tools.rayservice $$profile > k8s/overlays/$$profile/serve-config.yaml || exit 1; done
	$(PY) -m tools.dashboard > k8s/observability/dashboard.json

lock: $(VENV)/.dev ## Resolve the dependencies anew (all Pythons and systems) and pin their hashes
	$(LOCK) --extra dev --output-file requirements-dev.lock
	$(LOCK) --constraints requirements-dev.lock --output-file requirements.lock
	$(LOCK) --extra gpu --constraints requirements.lock --output-file requirements-gpu.lock

LOCK = $(PY) -m uv pip compile pyproject.toml --extra build --universal --python-version 3.10 \
	--generate-hashes --no-emit-index-url --no-annotate --no-header --quiet

sbom: $(VENV)/.dev ## Write docs/licences.md and docs/sbom.cdx.json (Python 3.11 on Linux, as in the images)
	PYTHONPATH=.ci $(PY) -m supply_chain.licences > docs/licences.new && mv docs/licences.new docs/licences.md
	PYTHONPATH=.ci $(PY) -m supply_chain.sbom > docs/sbom.new && mv docs/sbom.new docs/sbom.cdx.json

audit: $(VENV)/.dev ## Look up known vulnerabilities of the images' packages; needs the internet
	@PYTHONPATH=.ci $(PY) -m supply_chain.audit

clean: ## Remove the environment and caches (models stay: python -m models path)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: one per set of dependencies, remade when its lock changes. dev contains runtime.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; ok = (3, 10) <= sys.version_info < (3, 14); \
	  sys.exit(0 if ok else "Python 3.10 to 3.13 is needed, this is %d.%d; set PYTHON=" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)

# The locks name every package, so pip has nothing to resolve.
$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing the server's dependencies into $(VENV) (a minute or two) ..."
	@$(PIP_INSTALL) --no-deps --require-hashes -r requirements.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@echo "Installing the development tools into $(VENV) ..."
	@$(PIP_INSTALL) --no-deps --require-hashes -r requirements-dev.lock
	@touch $@
