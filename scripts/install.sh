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
    section=${name##*.}
    case $name in
        *.cfg.5) name=${name}replicator ;;
    esac
    install -D -m 0644 "$page" "$root/usr/share/man/man$section/$name"
done

units=$root/usr/lib/systemd/system
[ ! -d "$root/lib/systemd/system" ] || [ -L "$root/lib" ] || units=$root/lib/systemd/system
install -d "$units"
install -m 0644 etc/systemd/* "$units"
install -D -m 0644 etc/tmpfiles.d/backup-replicator.conf "$root/usr/lib/tmpfiles.d/backup-replicator.conf"

conf=$root/etc/backup-manager/backup-server.conf
if [ ! -e "$conf" ]; then
    install -d -m 0700 "$root/etc/backup-manager"
    install -m 0640 etc/backup-manager/backup-server.conf "$conf"
fi

# The scripts only ask the program; they are its own words.
complete() { # PROGRAM SHELL FILE
    install -d "$(dirname "$root/$3")"
    _BACKUP_MANAGER_COMPLETE=$2 "$binaries/$1" >"$root/$3"
    chmod 0644 "$root/$3"
}
for program in backup-manager backup-server; do
    complete "$program" bash "usr/share/bash-completion/completions/$program"
    complete "$program" fish "usr/share/fish/vendor_completions.d/$program.fish"
    complete "$program" zsh "usr/share/zsh/vendor-completions/_$program"
    # zsh runs the file itself at the first Tab, when the function it defines has not been called yet.
    function=_clap_dynamic_completer_$(echo "$program" | tr - _)
    printf '[ "$funcstack[1]" != "_%s" ] || %s "$@"\n' "$program" "$function" >>"$root/usr/share/zsh/vendor-completions/_$program"
done
