#!/bin/sh
# Resolves requirements/*.in into one hash-locked file per stack and purpose, and lists what moved.
#   make lock          to the newest versions that the .in files allow
#   make lock KEEP=1   only what a changed .in file makes necessary
set -eu
cd "$(dirname "$0")/../requirements"
uv=$(command -v uv || echo ../.venv-uv/bin/uv)
[ -x "$uv" ] || { echo "make lock needs uv: pip install uv" >&2; exit 2; }

pins() { [ ! -f "$1" ] || sed -n 's/^\([A-Za-z0-9._-]*==[^\\]*[^ \\]\) *\\*$/\1/p' "$1" | sort; }

compile() { # target, sources and options
    target=$1
    shift
    before=$(mktemp)
    pins "$target" >"$before"
    [ -n "${KEEP:-}" ] || set -- --upgrade "$@"
    # No address of an index: the lock holds wherever the packages come from.
    "$uv" pip compile -q --generate-hashes --no-emit-index-url --no-emit-find-links \
        --no-annotate --custom-compile-command "make lock" "$@" -o "$target"
    moved=$(pins "$target" | diff "$before" - | sed -n 's/^</  -/p; s/^>/  +/p')
    printf '%s: %s\n' "requirements/$target" "${moved:+moved
}${moved:-nothing moved}"
    rm -f "$before"
}

lock() { # stack, options
    stack=$1
    shift
    compile "$stack-run.txt" "$@" run.in "$stack.in"
    compile "$stack-dev.txt" "$@" run.in "$stack.in" dev.in -c "$stack-run.txt"
}

lock legacy --python-version 3.10 --python-platform x86_64-manylinux_2_36
# One file for every Python of the stack.
lock modern --python-version 3.11 --universal
