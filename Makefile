# The two commands of this project, and the bench. Each does its own set-up.
.PHONY: demo test bench

# Real backups, two servers on loopback, a push and a pull, a readable result.
demo:
	@scripts/need.sh cc=gcc tar
	cargo build --locked --release --workspace --bins
	tests/demo/run.sh $(CURDIR)/target/release

# Format, lints, licences, unit, property and whole-system tests, docs, release build.
test:
	@scripts/test.sh

# Rates, CPU and memory, printed as ratios measured in one run.
bench:
	@scripts/need.sh cc=gcc
	cargo build --locked --release --workspace --bins
	cargo run --locked --release -p bench -- target/release
