#!/bin/sh
# Everything there is to check, in the order that fails fastest. Called by `make test`, from the top of the clone.
set -eu

step() { printf '\n=== %s\n' "$*"; }

step "set-up"
if ! command -v cargo >/dev/null 2>&1; then
    echo "A Rust toolchain is needed: see rust-version in Cargo.toml, and https://rustup.rs" >&2
    exit 1
fi
scripts/need.sh cc=gcc tar zstd git /usr/bin/python3=python3 make g++=build-essential dpkg-buildpackage=dpkg-dev dh=debhelper \
    lintian debootstrap systemd-analyze=systemd man=man-db mandoc groff setpriv=util-linux bash zsh fish
scripts/need.sh systemd-analyze=systemd ||
    echo "systemd-analyze cannot be had here: calendar events are NOT compared with systemd's."
cargo deny --version >/dev/null 2>&1 || cargo install --locked --quiet cargo-deny

# Stores with 65,536 chunk directories each: several times quicker in memory, where there is room for them.
base=${TMPDIR:-/tmp}
if [ -d /dev/shm ] && [ -w /dev/shm ] && [ "$(df -Pk /dev/shm | awk 'NR==2 {print $4}')" -gt 4194304 ]; then
    base=/dev/shm
fi
TMPDIR=$(mktemp -d "$base/backup-replicator-test.XXXXXX")
export TMPDIR
chmod 755 "$TMPDIR" # as root, some tests look in as another user
trap 'rm -rf "$TMPDIR"' EXIT
trap 'exit 130' INT TERM

step "format"
cargo fmt --all --check

step "lints"
cargo clippy --locked --workspace --all-targets --all-features -- -D warnings

step "licences and sources"
cargo deny --log-level error check licenses bans sources
if ! cargo deny --log-level error check advisories 2>"$TMPDIR/advisories"; then
    if grep -Eqi 'failed to (fetch|acquire|load|open|clone)' "$TMPDIR/advisories"; then
        echo "The advisory database cannot be reached from here: advisories were NOT checked."
    else
        cat "$TMPDIR/advisories" >&2
        exit 1
    fi
fi

step "tests"
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked --workspace --all-features --no-fail-fast
else
    echo "cargo-nextest is not installed: running the same tests with cargo test"
    cargo test --locked --workspace --all-features --lib --bins --tests
fi
cargo test --locked --workspace --all-features --doc

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

step "release build and demo"
cargo build --locked --release --workspace --bins
tests/demo/run.sh target/release

step "Debian package"
tests/package/build.sh target/debian >"$TMPDIR/package.log" 2>&1 || { cat "$TMPDIR/package.log" >&2; exit 1; }
lintian --fail-on error,warning target/debian/*.changes
tests/package/units.sh target/debian/*.deb
tests/package/chroot.sh target/debian/*.deb

step "independent implementation"
scripts/peer-check.sh target/release "${PBS_PEER:-}"

step "all checks passed"
