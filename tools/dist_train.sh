#!/usr/bin/env bash
# Train on several GPUs, or on several CPU processes where there is no GPU.
#
#   bash tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
#
# On several nodes run it on each, with NNODES, NODE_RANK, MASTER_ADDR (and PORT) set. With
# MAX_RESTARTS=3 a run that fails goes on by itself; see tools/torchrun.sh.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG GPUS [arguments of tools/train.py]" >&2
    exit 2
fi
exec bash "$(dirname "$0")/torchrun.sh" "$2" train.py "$1" "${@:3}"
