#!/bin/sh
# Installs the completion scripts of a program: scripts/completions.sh PROGRAM DESTINATION
#
# PROGRAM is the path of a built program, DESTINATION the root to install below. The scripts only ask the program, which
# knows its commands and the names in its configuration; they are its own words.
set -eu

program=${1:?usage: completions.sh PROGRAM DESTINATION}
share=${2:?usage: completions.sh PROGRAM DESTINATION}/usr/share
name=$(basename "$program")

script() { # SHELL FILE
    install -d "$(dirname "$share/$2")"
    _BACKUP_MANAGER_COMPLETE=$1 "$program" >"$share/$2"
    chmod 0644 "$share/$2"
}
script bash "bash-completion/completions/$name"
script fish "fish/vendor_completions.d/$name.fish"
script zsh "zsh/vendor-completions/_$name"
# zsh loads the file as a function at the first Tab, and calls what it defines only from the second on.
function=_clap_dynamic_completer_$(echo "$name" | tr - _)
# shellcheck disable=SC2016  # zsh is to see it
printf '[ "$funcstack[1]" != "_%s" ] || %s "$@"\n' "$name" "$function" >>"$share/zsh/vendor-completions/_$name"
