#!/usr/bin/env bash
# Install Chromium, in which tests/test_tools/test_demo.py uses the page of tools/demo.py.
#
#   bash tools/install_chromium.sh
#
# By the package manager, where it is run by root on Debian. Returns at once when chromium or
# google-chrome is there.
set -euo pipefail

fail() {
    echo "install_chromium.sh: $*" >&2
    exit 1
}

[ $# = 0 ] || fail 'takes no arguments.'
for browser in chromium google-chrome; do
    if command -v "$browser" >/dev/null; then
        exit 0
    fi
done
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
    fail 'needs Chromium. Ask an administrator for: apt-get install chromium'
echo 'Installing chromium'
LOG=$(mktemp)
{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium; } \
    >"$LOG" 2>&1 || fail "apt-get could not install chromium, see $LOG"
rm -f "$LOG"
