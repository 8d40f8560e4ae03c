#!/bin/sh
# Builds the Debian package into a directory: build.sh OUTPUT
#
# `dpkg-buildpackage -us -uc -b` alone puts it beside the source tree, as is the custom; this keeps it together.
set -eu

out=$(mkdir -p "${1:?usage: build.sh OUTPUT}" && cd "$1" && pwd)
cd "$(dirname "$0")/../.."
rm -f "$out"/backup-replicator_*
version=$(dpkg-parsechangelog -S Version)_$(dpkg --print-architecture)
DEB_OUTPUT=$out dpkg-buildpackage -us -uc -b \
    --buildinfo-file="$out/backup-replicator_$version.buildinfo" --buildinfo-option=-u"$out" \
    --changes-file="$out/backup-replicator_$version.changes" --changes-option=-u"$out"
dh_clean
