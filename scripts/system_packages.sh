#!/bin/sh
# Installs what comes from the system's package manager, where it can: Debian or Ubuntu, as root.
# Elsewhere it says what is missing and goes on.
#   sh scripts/system_packages.sh build PYTHON    to build one package of the lock (pyfarmhash)
#   sh scripts/system_packages.sh test            to open pages in a browser, and for PostgreSQL
set -eu

bring() { # packages
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || return 1
    echo "Installing with apt-get: $*" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 ||
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }
}

case ${1:-} in
build)
    version=$("$2" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    missing=
    command -v c++ >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || missing="g++"
    headers='import os, sysconfig; assert os.path.exists(sysconfig.get_path("include") + "/Python.h")'
    "$2" -c "$headers" 2>/dev/null || missing="$missing $version-dev"
    "$2" -c 'import ensurepip' 2>/dev/null || missing="$missing $version-venv"
    # shellcheck disable=SC2086
    [ -z "$missing" ] || bring $missing || echo "Missing here: $missing. One package (pyfarmhash) is built" \
        "from source and needs a C++ compiler and Python's headers: install them if the next step fails." >&2
    ;;
test)
    command -v chromium >/dev/null 2>&1 || bring chromium fonts-liberation ||
        echo "chromium is not installed: the browser tests will be skipped. Debian: apt-get install chromium" >&2
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || bring postgresql ||
        echo "PostgreSQL is not installed: the store's tests run on SQLite only. Debian: apt-get install postgresql" >&2
    ;;
*)
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
