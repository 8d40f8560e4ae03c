#!/bin/sh
# Makes sure that commands exist: scripts/need.sh COMMAND[=DEBIAN-PACKAGE] ...
# Installs what is missing where that is permitted (root, or sudo without a password), else says exactly what to install.
set -eu

missing=
for want in "$@"; do
    command -v "${want%%=*}" >/dev/null 2>&1 || missing="$missing ${want#*=}"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "Missing programs. Please install what your system calls:$missing" >&2
    exit 1
fi
if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    echo "Missing Debian packages. As root, please run: apt-get update && apt-get install$missing" >&2
    exit 1
fi
echo "Installing:$missing" >&2
# Package lists may be absent on a new machine; a stale mirror is apt-get install's to report.
$as_root apt-get update -q >&2 || true
# shellcheck disable=SC2086  # words on purpose
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -q -y --no-install-recommends $missing >&2
