#!/bin/sh
# Creates .venv with Python 3.10 and installs the locked requirements of a purpose.
#   sh scripts/install.sh run|dev
set -eu
purpose=$1
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

find_uv() {
    if command -v uv >/dev/null 2>&1; then command -v uv; return; fi
    # A uv of the project's own, from any Python that has pip; without one, pip does the work.
    for python in python3 python3.12 python3.11 python3.10 python; do
        if "$python" -m pip --version >/dev/null 2>&1; then
            "$python" -m venv .venv-uv >/dev/null 2>&1 &&
                .venv-uv/bin/python -m pip install -q --disable-pip-version-check uv >/dev/null 2>&1 &&
                { echo "$PWD/.venv-uv/bin/uv"; return; }
        fi
    done
}

find_python() {
    for candidate in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.10.*/bin/python3.10 python3.10; do
        if "$candidate" -c 'import venv, ctypes, sqlite3' >/dev/null 2>&1; then
            command -v "$candidate"; return
        fi
    done
    if [ -n "$uv" ]; then
        "$uv" python find --no-project 3.10 2>/dev/null && return
        say "Python 3.10 is not on this machine; asking uv to bring it."
        "$uv" python install 3.10 >&2 2>/dev/null && "$uv" python find --no-project 3.10 2>/dev/null && return
    fi
    return 0
}

uv=$(find_uv || true)
if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 10))'; then
    python=$(find_python)
    if [ -z "$python" ]; then
        say "Flywheel needs Python 3.10, and none was found: not under \$PYENV_ROOT/versions, not as"
        say "python3.10 on PATH, and uv could not bring one. Install it (pyenv install 3.10, or your"
        say "system's python3.10 with its venv package) and type the same make command again."
        exit 2
    fi
    say "Creating .venv with $("$python" --version)"
    rm -rf .venv
    if [ -n "$uv" ]; then "$uv" venv -q --python "$python" .venv; else "$python" -m venv .venv; fi
fi

if ! command -v c++ >/dev/null 2>&1 && ! command -v g++ >/dev/null 2>&1; then
    say "No C++ compiler was found. One package (pyfarmhash) is built from source: if the next step"
    say "fails, install g++ and type the same make command again."
fi

say "Installing the packages locked in requirements/$purpose.txt (about 3 GB on disk)"
log=$(mktemp)
if [ -n "$uv" ]; then
    set -- "$uv" pip install --python .venv/bin/python --require-hashes -r "requirements/$purpose.txt"
else
    .venv/bin/python -m ensurepip -q >/dev/null 2>&1 || true
    set -- .venv/bin/python -m pip install --disable-pip-version-check --require-hashes -r "requirements/$purpose.txt"
fi
if ! "$@" >"$log" 2>&1; then
    tail -n 25 "$log" >&2
    if grep -q farmhash "$log"; then
        say ""
        say "pyfarmhash could not be built: it needs a C++ compiler and Python's headers (g++, python3-dev)."
    fi
    say "The whole output is in $log"
    exit 1
fi
rm -f "$log"

# The project itself, editable, without touching the locked packages.
site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
printf '%s\n' "$PWD" >"$site/flywheel.pth"
cat >.venv/bin/flywheel <<SCRIPT
#!$PWD/.venv/bin/python
from pipeline.cli.app import main

main()
SCRIPT
chmod +x .venv/bin/flywheel
touch ".venv/.$purpose"
[ "$purpose" = run ] || touch .venv/.run
