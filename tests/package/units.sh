#!/bin/sh
# Looks at the shipped units as systemd does: units.sh PACKAGE.deb
#
# `systemd-analyze verify` wants to find what units start and the man pages they name, so the package is unpacked and the
# units are pointed at what is in it.
set -eu

deb=${1:?usage: units.sh PACKAGE.deb}
work=$(mktemp -d "${TMPDIR:-/tmp}/units.XXXXXX")
trap 'rm -rf "$work"' EXIT
dpkg-deb -x "$deb" "$work/root"
units=$(dirname "$(find "$work/root" -name backup-server.service)")
sed -i "s|/usr/bin/backup-|$work/root/usr/bin/backup-|g" "$units"/*.service

said=$(MANPATH=$work/root/usr/share/man systemd-analyze verify "$units"/* 2>&1) || true
if [ -n "$said" ]; then
    echo "systemd-analyze verify has something to say:"
    echo "$said"
    exit 1
fi
systemd-analyze security --no-pager --offline=true --threshold=30 "$units/backup-server.service" | tail -n 1
