# The two commands of the README. Only Python is needed; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= odradek-data
LISTEN ?= localhost:9092
LONG_CLUSTER_CASES := tests/compat/cluster/test_kafka_tools.py tests/compat/cluster/test_killed.py

.PHONY: run test recipes cluster lint check docs faults simulate mutations conformance differential programs image jars oracles apache bench bench-quick bench-cluster clean

run: $(VENV)/.runtime
	@echo "Data: $(DATA). Once it is ready, send a first message from another terminal:"
	@echo "    echo hello | $(BIN)/odradek produce greetings --bootstrap-server $(LISTEN)"
	@echo "    $(BIN)/odradek consume greetings --from-beginning --bootstrap-server $(LISTEN)"
	@$(BIN)/odradek serve --listen $(LISTEN) --data-dir $(DATA)

test: $(VENV)/.development
	$(BIN)/python -m pytest tests/unit tests/sim tests/cluster --ignore tests/cluster/test_earlier_kafka.py
	$(BIN)/python -m pytest tests/compat --ignore tests/compat/programs --target odradek $(LONG_CLUSTER_CASES:%=--ignore %)

# What the guide shows: the starts and recipes of docs/. They wait more than they compute.
recipes: $(VENV)/.development
	$(BIN)/python -m pytest -n 4 tests/recipes

# What takes longer on three nodes: killed nodes, and Kafka's own tools, which need Java.
cluster: $(VENV)/.development
	$(BIN)/python -m pytest $(LONG_CLUSTER_CASES) --target odradek

lint: $(VENV)/.development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: test lint

# Whole clusters under faults, in virtual time. Minutes. Fixed seeds; `make simulate NEW_SEEDS=20` tries as many that nobody
# has tried, of each kind, and names them first.
NEW_SEEDS := 0
simulate: $(VENV)/.development
	$(BIN)/python -m tests.sim.cluster --nodes 3 --new-seeds $(NEW_SEEDS) --seeds 34 --minutes 1.5 --jobs 2
	$(BIN)/python -m tests.sim.cluster --nodes 3 --brokers 1 --new-seeds $(NEW_SEEDS) --seeds 8 --minutes 1.5 --jobs 2
	$(BIN)/python -m tests.sim.cluster --nodes 3 --brokers 3 --separate --new-seeds $(NEW_SEEDS) --seeds 8 --minutes 1.5 --jobs 2
	$(BIN)/python -m tests.sim.cluster --nodes 1 --new-seeds $(NEW_SEEDS) --seeds 8 --minutes 1.5 --jobs 2

# Bugs that are put into the code on purpose, each of which a simulation must catch. A quarter of an hour.
mutations: $(VENV)/.development
	$(BIN)/python -m tests.sim.cluster.mutations --jobs 2

# Three nodes under faults with the history checker, longer than in `make test`: three minutes, ODRADEK_FAULTS_S for more.
faults: $(VENV)/.development
	$(BIN)/python -m pytest -s tests/faults

# Programs that people run on Kafka, whole, under faults: minutes. Those in Java are skipped where it is missing.
programs: $(VENV)/.development
	$(BIN)/python -m pytest tests/compat/programs --target odradek

# The container image without Docker, started as testcontainers' modules start it: for Linux and root.
image: $(VENV)/.development
	$(BIN)/python -m pytest tests/image

# The test projects of examples/ in Java, Go and JavaScript, as far as these are here. Half a minute.
.PHONY: examples
examples: $(VENV)/.development
	$(BIN)/python -m pytest tests/examples

# What needs Java: Kafka's jars (fetched by Maven), files both ways, nodes of an earlier Kafka, and the conformance suite
# on the real broker.
jars: $(VENV)/.development
	$(BIN)/python -m tests.support.fetch

oracles: jars
	$(BIN)/python -m pytest tests/kafka_files tests/cluster/test_earlier_kafka.py

apache: $(VENV)/.development
	$(BIN)/python -m pytest tests/compat --target apache

# tests/compat on Odradek and on Apache Kafka, with the clients of today and of two years back: docs/conformance.md.
conformance: $(VENV)/.development
	$(BIN)/odradek conformance --target odradek --target apache --write

# Random requests to both, whose answers must agree: fixed seeds, and one that nobody has tried.
differential: $(VENV)/.development
	$(BIN)/python -m tests.differential --seed 1 --seed 2 --seed 3 --sequences 25

# Beside Apache Kafka and the bare machine: all of it, an hour, into docs/performance-results.md; or under 3 minutes.
bench: $(VENV)/.development
	$(BIN)/python -m benchmarks --json docs/performance/figures.json --page docs

bench-quick: $(VENV)/.development
	$(BIN)/python -m benchmarks --quick --json build/bench-quick.json

bench-cluster: $(VENV)/.development
	$(BIN)/python -m benchmarks.cluster

# The pages that are generated from the code, and the guide.
docs: $(VENV)/.development
	$(BIN)/python tools/config_docs.py
	$(BIN)/python tools/compatibility_docs.py
	$(BIN)/python tools/control_docs.py
	$(BIN)/python -m tests.conformance.page
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The guide is in build/site/index.html"

clean:
	rm -rf $(VENV) .cache build dist

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Odradek needs Python 3.11 or newer: make run PYTHON=python3.12")'
	@echo "Making the virtual environment in $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml | $(VENV)/bin/python
	@echo "Installing Odradek ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.development: requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing the development tools, as locked ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@ $(VENV)/.runtime
