#!/usr/bin/env bash
# Evaluate on several GPUs, or on several CPU processes where there is no GPU: clips are
# split among them, and the result is that of one process.
#
#   bash tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of tools/test.py]
#
# On several nodes run it on each, with NNODES, NODE_RANK, MASTER_ADDR (and PORT) set.
set -euo pipefail

if [ $# -lt 3 ]; then
    echo "usage: $0 CONFIG CHECKPOINT GPUS [arguments of tools/test.py]" >&2
    exit 2
fi
CONFIG=$1
CHECKPOINT=$2
GPUS=$3
TOOLS=$(cd "$(dirname "$0")" && pwd)
PYTHON=$TOOLS/../.venv/bin/python
[ -x "$PYTHON" ] && [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] || PYTHON=python

# Left alone, every process would take all cores.
CORES=$(getconf _NPROCESSORS_ONLN)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((CORES > GPUS ? CORES / GPUS : 1))}
export PYTHONPATH=$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}

exec "$PYTHON" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$GPUS" \
    "$TOOLS/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "${@:4}"
