#!/bin/sh
# Says which stack this machine takes, with which Python, and why: three lines on standard output.
#   sh scripts/choose_stack.sh [UV]
# UV, when given, is asked for Pythons as well, and may bring one. STACK=modern|legacy decides.
set -eu
uv=${1:-}
wanted=${STACK:-}

refuse() { printf '%s\n' "$@" >&2; exit 2; }

find_python() { # versions in order of preference; prints the path of the first that works
    for version; do
        for python in "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/"python$version" \
            "python$version" python3 python; do
            if "$python" -c 'import ctypes, sqlite3, ssl, sys, venv
sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1])' "$version" >/dev/null 2>&1; then
                command -v "$python"
                return
            fi
        done
        if [ -n "$uv" ]; then
            UV_PYTHON_DOWNLOADS=never "$uv" python find --system --no-project "$version" 2>/dev/null && return
        fi
    done
    return 1
}

bring_python() { # version
    [ -n "$uv" ] && echo "Python $1 is not on this machine; asking uv to bring it." >&2 &&
        "$uv" python install -q "$1" >/dev/null 2>&1 && "$uv" python find --system --no-project "$1"
}

answer() { # stack, Python, why
    printf '%s\n' "$1" "$2" \
        "$1 stack ($([ "$1" = modern ] && echo tfx 1.21 || echo tfx 1.16)), Python $("$2" -c \
            'import platform; print(platform.python_version())'): $3"
    exit 0
}

case $wanted in '' | modern | legacy) ;; *) refuse "STACK=$wanted: there is STACK=modern and STACK=legacy." ;; esac
machine=$(uname -sm)
[ "$machine" = "Linux x86_64" ] ||
    refuse "Flywheel needs Linux on x86_64, and this is $machine: TFX's native packages (tfdv, tfx-bsl," \
        "ml-metadata) are published for nothing else. A Linux container or virtual machine will do."
libc=$(getconf GNU_LIBC_VERSION 2>/dev/null || true)
glibc=${libc#glibc }
[ -n "$glibc" ] ||
    refuse "Flywheel needs the GNU C library, and this system has another one (Alpine's musl?):" \
        "TFX's native packages do not load there. Use an image of Debian or Ubuntu."

if [ "$(printf '%s\n' 2.39 "$glibc" | sort -V | head -n 1)" = 2.39 ]; then
    why="glibc $glibc, and tfx 1.21 needs 2.39"
    if [ "$wanted" != legacy ]; then
        python=$(find_python 3.12 3.11 3.13 || bring_python 3.12) && answer modern "$python" "$why"
        why="no Python 3.11, 3.12 or 3.13 for tfx 1.21"
        [ "$wanted" != modern ] || refuse "STACK=modern needs Python 3.12, 3.11 or 3.13: none was found under" \
            "\$PYENV_ROOT/versions, on PATH or by uv. Install one (apt-get install python3)."
    fi
else
    why="glibc $glibc, and tfx 1.21 needs 2.39"
    [ "$wanted" != modern ] || refuse "STACK=modern cannot be installed here: $why. Debian 13 and Ubuntu 24.04" \
        "have it; as root, \`sh scripts/debian13.sh make run\` makes a Debian 13 of its own and runs in it."
fi
[ "$wanted" != legacy ] || why="asked for by STACK=legacy"
python=$(find_python 3.10 || bring_python 3.10) && answer legacy "$python" "$why"
refuse "The legacy stack is what this machine can take ($why), and it needs Python 3.10: none was" \
    "found under \$PYENV_ROOT/versions, as python3.10 on PATH, and uv could not bring one. Install it" \
    "(pyenv install 3.10) and type the same command again."
