#!/usr/bin/env bash
# Run a tool on several GPUs, or in several CPU processes where there is no GPU.
#
#   bash tools/torchrun.sh GPUS TOOL [arguments of the tool]
#
# On several nodes run it on each, with NNODES, NODE_RANK, MASTER_ADDR (and PORT) set.
set -euo pipefail

GPUS=$1
TOOLS=$(cd "$(dirname "$0")" && pwd)
PYTHON=$TOOLS/../.venv/bin/python
[ -x "$PYTHON" ] && [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] || PYTHON=python

# Left alone, every process would take all cores.
CORES=$(getconf _NPROCESSORS_ONLN)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((CORES > GPUS ? CORES / GPUS : 1))}
# Seconds between its SIGTERM and SIGKILL, longer than the PreemptionHook takes to give up.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-150}
# torchrun would die of a cluster's early warning instead of passing it on.
export PET_SIGNALS_TO_HANDLE=${PET_SIGNALS_TO_HANDLE:-SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1}
export PYTHONPATH=$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}

exec "$PYTHON" "$TOOLS/torchrun.py" \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$GPUS" \
    "$TOOLS/$2" "${@:3}" --launcher pytorch
