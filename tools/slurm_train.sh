#!/usr/bin/env bash
# Train on a Slurm cluster.
#
#   [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=8] [SRUN_ARGS=...] \
#       bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of tools/train.py]
#
# With SRUN_ARGS='--signal=USR1@120' a run saves itself two minutes before its time limit;
# start the same command with --resume to continue exactly there. GPUS_PER_NODE=0 trains on CPUs.
set -euo pipefail

if [ $# -lt 3 ]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG [arguments of tools/train.py]" >&2
    exit 2
fi
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
CPUS_PER_TASK=${CPUS_PER_TASK:-8}
TOOLS=$(cd "$(dirname "$0")" && pwd)
PYTHON=$TOOLS/../.venv/bin/python
[ -x "$PYTHON" ] && [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] || PYTHON=python

NODES=()
if [ "$GPUS_PER_NODE" -gt 0 ]; then
    NODES=(--gres="gpu:$GPUS_PER_NODE" --ntasks-per-node="$((GPUS < GPUS_PER_NODE ? GPUS : GPUS_PER_NODE))")
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export PYTHONPATH=$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}

# shellcheck disable=SC2086  # SRUN_ARGS is a list of words
exec srun -p "$1" \
    --job-name="$2" \
    --ntasks="$GPUS" \
    --cpus-per-task="$CPUS_PER_TASK" \
    --kill-on-bad-exit=1 \
    "${NODES[@]}" \
    ${SRUN_ARGS:-} \
    "$PYTHON" -u "$TOOLS/train.py" "$3" --launcher slurm "${@:4}"
