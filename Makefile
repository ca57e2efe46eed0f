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

.PHONY: help demo dev test soundness check bench contracts keys tools clean sheaf

help: ## this list
	@echo "make TARGET [ARGS='options of the sheaf command']    make bench [WHAT=prove] [ARGS=..]"
	@sed -n 's/^\([a-z]*\):.*## /\1:/p' Makefile | while IFS=: read -r target text; do printf '  %-10s %s\n' "$$target" "$$text"; done

demo: tools sheaf ## the whole path once, with real proofs and a crash half-way; exit 0 only if every check held
	@exec $(SHEAF) demo $(ARGS)

dev: tools sheaf ## a node with Postgres and Anvil of its own that stays; prints URLs, test keys, commands to paste
	@exec $(SHEAF) node --dev $(ARGS)

test: tools ## contract and workspace tests on real Postgres and Anvil, with a summary
	@exec tools/test

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

contracts: tools ## build and test the contracts, renew their fixtures, the committed artifacts and the gas snapshot
	@$(CARGO) run -p sheaf-circuits --example contract_fixtures --locked
	@cd contracts && $(FORGE) build && FORGE_SNAPSHOT_CHECK=false FORGE_SNAPSHOT_EMIT=true $(FORGE) test
	@tools/artifacts

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
