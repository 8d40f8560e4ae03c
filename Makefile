# The two commands of this project, and the bench. Each does its own set-up.
.PHONY: demo test bench man deb install

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

# The manual pages that come from the parsers and man/parts; a test says when this is due.
man:
	cargo run --locked -p manual --example write

# The Debian package, into target/debian.
deb:
	@scripts/need.sh cc=gcc tar make g++=build-essential dpkg-buildpackage=dpkg-dev dh=debhelper /usr/bin/python3=python3
	tests/package/build.sh target/debian

# What the package has, without a package: make install DESTDIR=/where (default: this very system). Users, directories
# and services are docs/install.md's.
install:
	cargo build --locked --release --workspace --bins
	scripts/install.sh target/release "$(or $(DESTDIR),/)"
