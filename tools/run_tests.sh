#!/usr/bin/env bash
# Check style and run the tests, setting everything up first.
#
#   bash tools/run_tests.sh [arguments of pytest]
#
# MMVIDEOMAC_TEST_DATA names a folder of real data and golden files; without it
# the tests that need them are skipped.
set -euo pipefail
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}  # see tools/train.py
cd "$(dirname "$0")/.."

bash tools/setup_env.sh --dev
if [ -z "${MMVIDEOMAC_TEST_DATA:-}" ] && [ -d ../shared/golden ]; then
    MMVIDEOMAC_TEST_DATA=$(cd ../shared && pwd)
    export MMVIDEOMAC_TEST_DATA
fi

.venv/bin/ruff check .
.venv/bin/ruff format --check .
exec .venv/bin/python -m pytest "$@"
