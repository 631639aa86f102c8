#!/bin/sh
# Resolves requirements/*.in into hash-locked *.txt, without index addresses; lists what moved.
set -eu
cd "$(dirname "$0")/.."
uv=$(command -v uv || echo .venv-uv/bin/uv)
[ -x "$uv" ] || { echo "make lock needs uv: pip install uv" >&2; exit 2; }
for purpose in run dev; do
    target=requirements/$purpose.txt
    before=$(mktemp)
    [ -f "$target" ] && grep -E '^[a-zA-Z0-9._-]+==' "$target" | sed 's/ .*//' | sort >"$before" || :
    set -- pip compile -q --python-version 3.10 --generate-hashes --no-emit-index-url \
        --no-emit-find-links --no-annotate --custom-compile-command "make lock" \
        "requirements/$purpose.in" -o "$target"
    [ "$purpose" = run ] || set -- "$@" -c requirements/run.txt
    "$uv" "$@"
    grep -E '^[a-zA-Z0-9._-]+==' "$target" | sed 's/ .*//' | sort | diff "$before" - |
        grep '^[<>]' | sed 's/^</- /; s/^>/+ /' || true
    rm -f "$before"
done
