#!/bin/sh
# `make demo`, after the build: the directory of the binaries is the one argument.
exec "$(dirname "$0")/../tests/demo/run.sh" "$@"
