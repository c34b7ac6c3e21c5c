# What one does with this repository. `make help` lists it.
#
# Every cargo call goes through scripts/with-rocksdb, which exports ROCKSDB_LIB_DIR and ROCKSDB_STATIC when this
# machine keeps a compiled RocksDB. Demo and tests share one profile: what one compiled, the other finds.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help demo test test-systemd sim sim-race bench load load-slow build install-deps \
	stage-format stage-unit-file stage-lints stage-documentation stage-configuration stage-tests

CARGO := scripts/with-rocksdb cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)

# Which node the demo uses: sim, the stand-in, or bchn, a real bitcoind (BITCOIND=path, or on PATH).
NODE ?= sim
# Further words for the demo, the load and the benchmarks: make demo ARGS=--auto
ARGS ?=

stage = @echo; echo "== $(1)"

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null || \
		sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/make \1: \2/p' Makefile

install-deps: ## the system packages that are missing (as root, or with sudo)
	@scripts/install-deps

build: install-deps ## the daemon, as it is installed: target/release/jppd
	$(call stage,build)
	@$(CARGO) build --release --locked --bin jppd

demo: install-deps ## a payment, start to end; NODE=bchn for a real node, ARGS=--auto for no questions
	$(call stage,build)
	@$(CARGO) build --locked --workspace --bins
	$(call stage,demo)
	@$(TARGET)/debug/demo --node $(NODE) $(ARGS)

# Every stage runs, whatever the others say; the last lines name what failed and what was skipped.
TEST_STAGES := format unit-file lints documentation configuration tests

# The tree of the machine that tests/systemd boots is made in the background meanwhile; that test waits for it.
test: ## format, lints, documentation, unit file, configuration, all tests; STAGE=lints for one of the stages
	@scripts/install-deps browser systemd
	@scripts/debian-tree >/dev/null 2>&1 </dev/null &
	@MAKE=$(MAKE) scripts/run-stages stage $(or $(STAGE),$(TEST_STAGES))

stage-format:
	@cargo fmt --all --check

stage-unit-file:
	@scripts/check-unit

stage-lints:
	@$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

stage-documentation:
	@RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps

stage-configuration:
	@JPPD_NODE__RPC_COOKIE_FILE=/var/lib/bitcoind/.cookie \
		$(CARGO) run --quiet --locked --bin jppd -- check-config --config config/jppd.toml >/dev/null

stage-tests:
	@$(CARGO) test --locked --workspace --no-fail-fast

test-systemd: ## installs by docs/OPERATIONS.md in a machine with systemd, and tries the unit there (as root)
	@scripts/install-deps systemd
	@scripts/debian-tree >/dev/null 2>&1 </dev/null &
	$(call stage,build)
	@$(CARGO) build --locked --workspace --bins --test systemd
	$(call stage,unit under systemd)
	@$(CARGO) test --locked --workspace --test systemd -- --nocapture

# The simulator: how many seeds, or which one, and whether to tell what happens in it.
SEEDS ?= 10000
SEED ?=
TRACE ?= 0
TRIALS ?= 100000

sim: install-deps ## payments under faults, from one number; SEEDS=10000 for many, SEED=42 TRACE=1 for one told
	$(call stage,simulator)
	@SIM_SEEDS=$(SEEDS) SIM_SEED=$(SEED) SIM_TRACE=$(TRACE) \
		$(CARGO) test --locked -p jppd --test sim -- runs::seeds --nocapture

sim-race: install-deps ## invoices registered around the broadcast and the block of their payment; TRIALS=100000
	$(call stage,registration race)
	@SIM_TRIALS=$(TRIALS) $(CARGO) test --locked -p jppd --test sim -- runs::registration_race --nocapture

bench: install-deps ## the benchmarks of docs/PERFORMANCE.md; ARGS=NAME for one of them
	$(call stage,benchmarks)
	@$(CARGO) bench --locked $(ARGS)

load: install-deps ## transactions at a given rate, and how long their events take; ARGS=--help
	$(call stage,build)
	@$(CARGO) build --release --locked --workspace --bins
	$(call stage,load)
	@$(TARGET)/release/load $(ARGS)

load-slow: install-deps ## 10,000 slow connections of each kind, and what an honest client notices; ARGS=--help
	$(call stage,build)
	@$(CARGO) build --release --locked --workspace --bins
	$(call stage,slow connections)
	@$(TARGET)/release/slow $(ARGS)
