# Every target works from a clean clone. `make help` lists them.
#
# One build for all: the dev profile (dependencies, protocol and circuits at opt-level 3) over the whole workspace, so that demo, dev and test
# share what is compiled.

SHELL := bash
.DEFAULT_GOAL := help

CARGO ?= cargo
FORGE := ../tools/forge
INSTALLED := tools/node_modules/.installed
# cargo knows where it builds and becomes the program it runs: exit code, input and Ctrl-C are the program's
SHEAF := $(CARGO) run --quiet --locked --bin sheaf --
ARGS ?=
WHAT ?= circuit prove commit load

.PHONY: help demo dev test storm chaos soundness check bench walkaway static ceremony screenshots contracts invariants mutants check-deploy slither keys tools clean sheaf

help: ## this list
	@echo "make TARGET [ARGS='options of the sheaf command']    make bench [WHAT=prove] [ARGS=..]"
	@sed -n 's/^\([a-z-]*\):.*## /\1:/p' Makefile | while IFS=: read -r target text; do printf '  %-12s %s\n' "$$target" "$$text"; done

demo: tools sheaf ## the whole path once, with real proofs and a crash half-way; exit 0 only if every check held
	@exec $(SHEAF) demo $(ARGS)

dev: tools sheaf ## a node with Postgres and Anvil of its own that stays; prints URLs, test keys, commands to paste
	@exec $(SHEAF) node --dev $(ARGS)

test: tools ## contract and workspace tests on real Postgres and Anvil, with a summary
	@exec tools/test

storm: tools ## 200 reorgs, gas at 100 times its price, sendings without an answer, 43 lying nodes; prints what came of each
	@SHEAF_STORM=full tools/with-postgres $(CARGO) test --workspace --locked --test suite -- --nocapture --test-threads 1 a_storm_passes every_liar

chaos: tools sheaf ## workers, network, Postgres and gateway fail for MINUTES (30 unless told), bad proofs come in; prints what came of each fault
	@SHEAF_CHAOS_MINUTES=$(or $(MINUTES),30) $(CARGO) test --workspace --locked --test stack -- --nocapture a_fleet_in_chaos

soundness: tools ## the long soundness suite of the circuits, for a nightly run: deletion score, 10,000 random batches, lies, forged proofs
	@SHEAF_SOUNDNESS=1 $(CARGO) test --workspace --locked --test suite -- --nocapture soundness:: forgery:: equivalence:: perturbation:: counts::counts

check: tools ## formatting, lints as errors, dependency rules, committed contract artifacts
	@echo "== format" && $(CARGO) fmt --all -- --check && (cd contracts && $(FORGE) fmt --check)
	@echo "== clippy" && $(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@echo "== dependencies" && if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check bans licenses sources; \
	    else echo "skipped: cargo-deny is not installed (cargo install cargo-deny --locked)"; fi
	@echo "== contracts" && (cd contracts && $(FORGE) fmt --check && $(FORGE) build --quiet) && tools/artifacts --check

bench: tools sheaf ## figures of docs/performance.md: circuit, prove, commit, load, or only WHAT
	@for what in $(WHAT); do $(SHEAF) bench $$what $(ARGS) || exit 1; done

walkaway: tools sheaf ## N accounts (1000 unless told), after BATCHES of transfers (2), leave without the operator, its database and its workers; prints what was paid
	@$(if $(PROGRAM),SHEAF_WALKAWAY_PROGRAM=$(abspath $(PROGRAM))) SHEAF_WALKAWAY_ACCOUNTS=$(or $(N),1000) SHEAF_WALKAWAY_BATCHES=$(or $(BATCHES),2) $(CARGO) test --workspace --locked --test stack -- --nocapture everybody_leaves

static: ## `sheaf` as one statically linked Linux program, which restores and leaves on a machine that has nothing else; tried by make walkaway PROGRAM=..
	@host=$$(rustc -vV | sed -n 's/^host: //p') && RUSTFLAGS="-C target-feature=+crt-static" $(CARGO) build --locked --bin sheaf --target $$host \
	    --target-dir target/static && ls -l target/static/$$host/debug/sheaf

ceremony: tools sheaf ## phase 2 of the shape `test` by our commands and by snarkjs, point by point (tens of minutes)
	@$(CARGO) test --workspace --locked --test snarkjs_setup --test ceremony_whole

screenshots: tools sheaf ## walk every page in Chromium, both themes, desk and phone, and renew the pictures in docs/images
	@SHEAF_SCREENSHOTS=docs/images $(CARGO) test --workspace --locked --test stack -- --nocapture every_page_is_walked

contracts: tools ## build and test the contracts, renew their fixtures, the committed artifacts and the gas snapshot
	@$(CARGO) run -p sheaf-circuits --example contract_fixtures --locked
	@cd contracts && $(FORGE) build && FORGE_SNAPSHOT_CHECK=false FORGE_SNAPSHOT_EMIT=true $(FORGE) test
	@tools/artifacts

invariants: tools ## the contracts' invariants at 256 runs x 500 calls, for each chain of fixtures: most of an hour
	@cd contracts && FOUNDRY_INVARIANT_RUNS=256 FOUNDRY_INVARIANT_DEPTH=500 $(FORGE) test --match-path test/Invariant.t.sol

mutants: tools ## how many small errors in the contracts their tests notice; ARGS='--count 100 --seed 1' for a sample, hours without; goes on where it was stopped
	@exec tools/mutants $(ARGS)

check-deploy: ## Dockerfile, compose, Kubernetes manifests, alerts and dashboard of deploy/, by tools that parse them (PyPI, npm, Debian)
	@exec tools/check-deploy

slither: tools ## slither's findings about the contracts, against the reviewed ones in contracts/SLITHER.md; installs it from PyPI
	@exec tools/slither

keys: tools sheaf ## make the development keys (INSECURE) that demo and dev use
	@exec $(SHEAF) keys make $(ARGS)

tools: $(INSTALLED) ## install the pinned tools from tools/package-lock.json, if it has changed

clean: ## delete what was built and installed, and .sheaf (development keys); wallets and deployments stay
	@$(CARGO) clean
	@rm -rf tools/node_modules contracts/out contracts/cache .sheaf

sheaf:
	@$(CARGO) build --workspace --bins --locked

$(INSTALLED): tools/package-lock.json tools/package.json
	@echo "installing the pinned tools" && tools/install && touch $@
