#!/bin/sh
# Creates the virtual environment and installs the locked packages of a purpose into it.
#   sh scripts/install.sh VENV run|dev
# Which stack: scripts/choose_stack.sh says, by this machine or by STACK=modern|legacy.
set -eu
cd "$(dirname "$0")/.."
venv=$1
purpose=$2

say() { printf '%s\n' "$*" >&2; }

find_uv() {
    if command -v uv >/dev/null 2>&1; then command -v uv; return; fi
    if [ -x .venv-uv/bin/uv ]; then echo "$PWD/.venv-uv/bin/uv"; return; fi
    # A uv of the project's own, from any Python that has pip; without one, pip does the work.
    for python in python3 python3.13 python3.12 python3.11 python3.10 python; do
        if "$python" -c 'import ensurepip' >/dev/null 2>&1; then
            "$python" -m venv .venv-uv >/dev/null 2>&1 &&
                .venv-uv/bin/python -m pip install -q --disable-pip-version-check uv >/dev/null 2>&1 &&
                { echo "$PWD/.venv-uv/bin/uv"; return; }
        fi
    done
}

uv=$(find_uv || true)
choice=$(sh scripts/choose_stack.sh "$uv")
stack=$(printf '%s\n' "$choice" | sed -n 1p)
python=$(printf '%s\n' "$choice" | sed -n 2p)
why=$(printf '%s\n' "$choice" | sed -n 3p)
lock=requirements/$stack-$purpose.txt
say "$why"

# One package (pyfarmhash) is built from source.
sh scripts/system_packages.sh build "$python"
[ -n "$uv" ] || uv=$(find_uv || true)

if [ ! -x "$venv/bin/python" ] || [ "$(sed -n 1p "$venv/stack" 2>/dev/null)" != "$stack" ] ||
    ! "$venv/bin/python" -c '' 2>/dev/null; then
    rm -rf "$venv"
    if [ -n "$uv" ]; then "$uv" venv -q --python "$python" "$venv"; else "$python" -m venv "$venv"; fi
fi

say "Installing the packages locked in $lock (about 3 GB on disk)"
log=$(mktemp)
if [ -n "$uv" ]; then
    set -- "$uv" pip install --python "$venv/bin/python" --require-hashes -r "$lock"
else
    "$venv/bin/python" -m ensurepip -q >/dev/null 2>&1 || true
    set -- "$venv/bin/python" -m pip install --disable-pip-version-check --require-hashes -r "$lock"
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
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
printf '%s\n' "$PWD" >"$site/flywheel.pth"
cat >"$venv/bin/flywheel" <<SCRIPT
#!$PWD/$venv/bin/python
from pipeline.cli.app import main

main()
SCRIPT
chmod +x "$venv/bin/flywheel"
printf '%s\n' "$stack" "$why" >"$venv/stack"
touch "$venv/.$purpose"
[ "$purpose" = run ] || touch "$venv/.run"
