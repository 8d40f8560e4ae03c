#!/bin/sh
# Puts a built tree where it belongs: scripts/install.sh BINARIES DESTINATION
#
# BINARIES is the directory of the two programs, DESTINATION the root to install below (`/` for this very system).
# The Debian package and `make install` both use it, so that there is one list of what goes where. The default
# configuration is installed only where there is none.
set -eu

binaries=${1:?usage: install.sh BINARIES DESTINATION}
root=${2:?usage: install.sh BINARIES DESTINATION}
cd "$(dirname "$0")/.."

install -d "$root/usr/bin"
install -m 0755 "$binaries/backup-manager" "$binaries/backup-server" "$root/usr/bin"

# Pages of files have a section name of their own: a stock server on the same host has a sync.cfg(5) too.
for page in man/*.[578]; do
    name=$(basename "$page")
    target=$root/usr/share/man/man${name##*.}
    install -d "$target"
    case $name in
        *.cfg.5) sed 's/^\(\.TH [^ ]*\) 5 /\1 5replicator /' "$page" >"$target/${name}replicator" ;;
        *) cp "$page" "$target/$name" ;;
    esac
done

units=$root/${UNIT_DIRECTORY:-usr/lib/systemd/system}
install -d "$units"
install -m 0644 etc/systemd/* "$units"
install -D -m 0644 etc/tmpfiles.d/backup-replicator.conf "$root/usr/lib/tmpfiles.d/backup-replicator.conf"

conf=$root/etc/backup-manager/backup-server.conf
if [ ! -e "$conf" ]; then
    install -d -m 0700 "$root/etc/backup-manager"
    install -m 0600 etc/backup-manager/backup-server.conf "$conf"
fi

for program in backup-manager backup-server; do
    scripts/completions.sh "$binaries/$program" "$root"
done
