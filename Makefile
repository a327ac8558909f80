# One command each; every target installs what it needs (Debian and Ubuntu as root) or says what to run.
# KAFKA_BROKERS and CLICKHOUSE_URL, when set, are used instead of starting anything.

SHELL := /bin/bash
LOCAL := deploy/local
BIN := target/release/aftersend
TARGET := event
SECONDS := 600
CASES := 100000

.DEFAULT_GOAL := help
.PHONY: help demo test laws kills check bench fuzz up down build fmt clean

help: ## show this
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: ## run everything on signed sample traffic; ONCE=1 checks the result and ends
	@$(LOCAL)/setup.sh
	@cargo build --release --locked -p aftersend
	@$(LOCAL)/with-services.sh $(BIN) demo $(if $(ONCE),--once)

test: ## every test, against real Kafka and the real ClickHouse engine
	@$(LOCAL)/setup.sh
	cargo test --workspace --locked --exclude aftersend-tests
	@# With places at which tests can make it fail; other builds have none.
	cargo build --locked -p aftersend --features failpoints
	@# One at a time: each starts four services of its own, and some stop the whole world.
	@$(LOCAL)/with-services.sh env RUST_TEST_THREADS=1 cargo test --locked -p aftersend-tests

kills: ## kill sink, ClickHouse and Kafka over and over, then count every row: KILLS=300, KILL_SEED=
	@$(LOCAL)/setup.sh
	cargo build --locked -p aftersend --features failpoints
	@$(LOCAL)/with-services.sh env KILLS=$(or $(KILLS),300) KILL_SEED=$(KILL_SEED) \
		cargo test --locked -p aftersend-tests --test it exactly_once::kills -- --nocapture

laws: ## the laws of the score on 100,000 random histories each; CASES=... for another number
	PROPTEST_CASES=$(CASES) cargo test --locked -p aftersend-processor --lib laws::

check: ## formatting, lints, documentation, dependencies, licences, spelling
	@$(LOCAL)/setup.sh tools
	cargo fmt --all --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
	@deploy/check-dependencies.sh
	@deploy/check.sh

bench: ## every benchmark beside its baseline, figures in target/bench; SOAK=1: only ingest's long run
	@$(LOCAL)/setup.sh bench
	$(if $(SOAK)$(BENCH),,cargo bench --locked -p aftersend-schemas --bench normalise)
	$(if $(SOAK)$(BENCH),,cargo bench --locked -p aftersend-tests --bench judge)
	cargo build --release --locked -p aftersend
	cargo build --release --locked -p aftersend-ingest --example echo
	cargo bench --locked -p aftersend-tests --bench ingest --bench clickhouse-sink --bench panels --bench processor --bench track --no-run
	$(if $(SOAK)$(BENCH),,$(LOCAL)/with-services.sh cargo bench --locked -p aftersend-tests --bench panels)
	@# With SOAK there are 10,000 connections, and each end of one is a file.
	@ulimit -Sn "$$(ulimit -Hn)"; $(LOCAL)/with-services.sh \
		cargo bench --locked -p aftersend-tests --bench ingest -- $(if $(SOAK),--soak) $(BENCH)
	$(if $(SOAK)$(BENCH),,@$(LOCAL)/with-services.sh cargo bench --locked -p aftersend-tests --bench clickhouse-sink)
	$(if $(SOAK)$(BENCH),,@$(LOCAL)/with-services.sh cargo bench --locked -p aftersend-tests --bench processor)
	$(if $(SOAK)$(BENCH),,@$(LOCAL)/with-services.sh cargo bench --locked -p aftersend-tests --bench track)

fuzz: ## look for input that breaks a promise: TARGET=event, records, classify or door; SECONDS=600
	@cargo +nightly --version >/dev/null 2>&1 || { echo 'Fuzzing needs nightly Rust: rustup toolchain install nightly --profile minimal' >&2; exit 1; }
	@cargo fuzz --version >/dev/null 2>&1 || { echo 'cargo-fuzz is missing: cargo install cargo-fuzz --locked' >&2; exit 1; }
	@mkdir -p fuzz/found/$(TARGET)
	@# Without AddressSanitizer: our crates forbid unsafe code, and it makes everything slower. New inputs go to fuzz/found.
	cargo +nightly fuzz run --sanitizer none $(TARGET) fuzz/found/$(TARGET) fuzz/corpus/$(TARGET) $(wildcard fuzz/regressions/$(TARGET)) -- \
		-max_total_time=$(SECONDS) -max_len=4096 -timeout=5 -rss_limit_mb=2048 -print_final_stats=1 -dict=$(firstword $(wildcard fuzz/$(TARGET).dict) fuzz/json.dict)

up: ## start local Kafka (127.0.0.1:9092) and ClickHouse (127.0.0.1:8123)
	@$(LOCAL)/up.sh

down: ## stop them; data stays under .local/
	@$(LOCAL)/down.sh

build: ## the release binary
	cargo build --release --locked -p aftersend
