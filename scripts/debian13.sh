#!/bin/sh
# Runs a command in a Debian 13 of its own: the modern stack, on a machine that cannot install it.
#   sh scripts/debian13.sh make run            in a copy of this checkout
#   sh scripts/debian13.sh --here flywheel …   in the current folder, at the same path inside
#   sh scripts/debian13.sh --fresh make run    with a system and a checkout made anew
# Needs root and Debian's packages (debootstrap; DEBIAN_MIRROR names another mirror). The system
# holds make, git, g++ and Debian's own Python; it is kept between calls in FLYWHEEL_DEBIAN13
# (default: ~/.cache/flywheel/debian13).
# Ends with the command's exit code; 75 when there can be no such system here, and says why.
set -eu
here=$PWD
project=$(cd "$(dirname "$0")/.." && pwd)
root=${FLYWHEEL_DEBIAN13:-${XDG_CACHE_HOME:-$HOME/.cache}/flywheel/debian13}
inside=/flywheel
share= fresh=
while :; do
    case ${1:-} in
    --here) share=$here ;;
    --fresh) fresh=1 ;;
    *) break ;;
    esac
    shift
done
[ $# -gt 0 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }

cannot() { echo "No Debian 13 here: $*" >&2; exit 75; }

# Everything is mounted in a mount namespace of our own and runs in a process namespace of our own:
# both end with this script, however it ends, and nothing stays mounted or running.
if [ -z "${FLYWHEEL_UNSHARED:-}" ]; then
    [ "$(id -u)" = 0 ] || cannot "it is made and entered by root (debootstrap, chroot)."
    command -v unshare >/dev/null || cannot "there is no \`unshare\` (package util-linux)."
    unshare --mount --pid --fork --mount-proc true 2>/dev/null ||
        cannot "this machine does not let a process mount (a container without CAP_SYS_ADMIN?)."
    [ -z "$share" ] || set -- --here "$@"
    [ -z "$fresh" ] || set -- --fresh "$@"
    FLYWHEEL_UNSHARED=1 exec unshare --mount --propagation private --pid --fork --kill-child \
        sh "$project/scripts/debian13.sh" "$@"
fi

mkdir -p "$(dirname "$root")"
exec 9>"$root.lock"
flock -n 9 || { echo "Waiting for another call to leave $root." >&2; flock 9; }

[ -z "$fresh" ] || rm -rf --one-file-system "$root"
if [ ! -e "$root/made" ]; then
    command -v debootstrap >/dev/null || {
        apt-get update -qq && apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
    } 2>/dev/null || cannot "there is no debootstrap, and apt-get could not install it."
    echo "Making a Debian 13 in $root (once)" >&2
    rm -rf --one-file-system "$root"
    mkdir -p "$root"
    # shellcheck disable=SC2086
    debootstrap --variant=minbase --include=ca-certificates,make,git,g++,python3 trixie "$root" \
        ${DEBIAN_MIRROR:-} >"$root.log" 2>&1 ||
        cannot "debootstrap failed; its last words: $(tail -n 1 "$root.log") (all of them: $root.log)"
    touch "$root/made"
fi

# How this machine reaches the network holds inside as well: name servers, certificates, proxies.
for file in /etc/resolv.conf /etc/hosts "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}"; do
    [ ! -f "$file" ] || { mkdir -p "$root$(dirname "$file")" && cp -L "$file" "$root$file"; }
done
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"

# The checkout as it is here, commits and edits alike; what an earlier call installed stays.
copy=$root$inside
mkdir -p "$copy"
find "$copy" -mindepth 1 -maxdepth 1 ! -name '.venv*' -exec rm -rf {} +
(cd "$project" && git ls-files -z --cached --others --exclude-standard |
    tar --null --files-from=- --ignore-failed-read -cf - 2>/dev/null) | tar -xf - -C "$copy" --no-same-owner

workdir=$inside
if [ -n "$share" ]; then
    mkdir -p "$root$share"
    mount --bind "$share" "$root$share"
    workdir=$share
fi
passed=$(env | grep -E '^(https?_proxy|no_proxy|HTTPS?_PROXY|NO_PROXY|SSL_CERT_FILE|PIP_(CERT|INDEX_URL|DEFAULT_TIMEOUT)|UV_[A-Z_]*|CI|STACK|COLUMNS|PYTEST_ADDOPTS)=' || true)
set -- "HOME=/root" "LANG=C.UTF-8" "PATH=$inside/.venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
    sh -c 'cd "$0" && exec "$@"' "$workdir" "$@"
old=$IFS
IFS='
'
# shellcheck disable=SC2086
set -- $passed "$@"
IFS=$old
chroot "$root" env -i "$@"
