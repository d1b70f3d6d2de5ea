#!/usr/bin/env bash
# Evaluate on several GPUs, or on several CPU processes where there is no GPU: clips are
# split among them, and the result is that of one process.
#
#   bash tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of tools/test.py]
#
# On several nodes run it on each, see tools/torchrun.sh.
set -euo pipefail

if [ $# -lt 3 ]; then
    echo "usage: $0 CONFIG CHECKPOINT GPUS [arguments of tools/test.py]" >&2
    exit 2
fi
exec bash "$(dirname "$0")/torchrun.sh" "$3" test.py "$1" "$2" "${@:4}"
