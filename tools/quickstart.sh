#!/usr/bin/env bash
# From a fresh clone to a pre-trained ConvNet and a report, in one command.
#
#   bash tools/quickstart.sh [--videos FOLDER] [--minutes N]
#
#   --videos FOLDER   pre-train on your own clips instead of the sample clips
#   --minutes N       how long to train (default 5), besides set-up
set -euo pipefail
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}  # see tools/train.py
ROOT=$(cd "$(dirname "$0")/.." && pwd)
bash "$ROOT/tools/setup_env.sh"
exec "${VENV:-$ROOT/.venv}/bin/python" "$ROOT/tools/quickstart.py" "$@"
