#!/bin/sh
# The environment of the `edge` recipes (docs/optimization.md#edge), beside the pipeline's own.
#   sh scripts/edge.sh install [VENV] [FROM]   what requirements/edge.txt locks, into VENV
#                                              (.venv-edge), with the Python of FROM (.venv)
#   sh scripts/edge.sh lock                    resolves requirements/edge.in into edge.txt anew
set -eu
cd "$(dirname "$0")/.."

uv=$(command -v uv || echo .venv-uv/bin/uv)
[ -x "$uv" ] || uv=

case ${1:-} in
install)
    venv=${2:-.venv-edge}
    from=${3:-.venv}
    if [ ! -x "$from/bin/python" ]; then
        echo "$from has no Python: run \`make install\` first." >&2
        exit 2
    fi
    if ! "$venv/bin/python" -c '' 2>/dev/null; then
        rm -rf "$venv"
        if [ -n "$uv" ]; then
            "$uv" venv -q --python "$from/bin/python" "$venv"
        else
            "$from/bin/python" -m venv "$venv"
        fi
    fi
    if [ -n "$uv" ]; then
        "$uv" pip install -q --python "$venv/bin/python" --require-hashes -r requirements/edge.txt
    else
        "$venv/bin/python" -m pip install -q --disable-pip-version-check --require-hashes \
            -r requirements/edge.txt
    fi
    "$venv/bin/python" -c 'import importlib.metadata as m; import ai_edge_quantizer
print("ai-edge-quantizer", m.version("ai-edge-quantizer"), "is ready")'
    ;;
lock)
    [ -n "$uv" ] || { echo "locking needs uv: pip install uv" >&2; exit 2; }
    cd requirements
    case $uv in /*) ;; *) uv=../$uv ;; esac
    # No address of an index: the lock holds wherever the packages come from.
    "$uv" pip compile -q --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links \
        --no-annotate --custom-compile-command "sh scripts/edge.sh lock" \
        --universal --python-version 3.10 edge.in -o edge.txt
    ;;
*)
    sed -n '2,5s/^# //p' "$0" >&2
    exit 2
    ;;
esac
