#!/bin/sh
# Installs the system packages some tests need (a browser to open the report in), where it can.
set -eu
command -v chromium >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-liberation >/dev/null
    exit 0
fi
echo "chromium is not installed: the browser tests will be skipped. Debian: apt-get install chromium" >&2
