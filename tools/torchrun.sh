#!/usr/bin/env bash
# Run a tool on several GPUs, or in several CPU processes where there is no GPU.
#
#   bash tools/torchrun.sh GPUS TOOL [arguments of the tool]
#
# On several nodes run it on each, with NNODES, NODE_RANK, MASTER_ADDR (and PORT) set.
#
# With MAX_RESTARTS=n the processes of all nodes are started again after a failure of any, n times
# at most, and training resumes its newest checkpoint, from the first start on. NODE_RANK is not
# needed then, and NNODES may be a range, 2:4, within which nodes may leave and join.
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

MASTER_ADDR=${MASTER_ADDR:-127.0.0.1}
PORT=${PORT:-29500}
if [ "${MAX_RESTARTS:-0}" -gt 0 ]; then
    # A meeting that can be held again, which the fixed one of torchrun cannot.
    MEETING=(--rdzv_backend=c10d --rdzv_endpoint="$MASTER_ADDR:$PORT" --rdzv_id=mmvideomac
        --max_restarts="$MAX_RESTARTS")
    # Kept over restarts, the store would hold addresses of processes that are gone.
    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    # Workers would look for the name of this machine, which may have no address.
    [ "$MASTER_ADDR" != 127.0.0.1 ] || MEETING+=(--local_addr=127.0.0.1)
else
    MEETING=(--node_rank="${NODE_RANK:-0}" --master_addr="$MASTER_ADDR" --master_port="$PORT")
fi

exec "$PYTHON" "$TOOLS/torchrun.py" \
    --nnodes="${NNODES:-1}" \
    --nproc_per_node="$GPUS" \
    "${MEETING[@]}" \
    "$TOOLS/$2" "${@:3}" --launcher pytorch
