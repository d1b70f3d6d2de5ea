#!/usr/bin/env bash
# Check style, run the tests, and the numerical ones a second time on another instruction set,
# setting everything up first.
#
#   bash tools/run_tests.sh [arguments of pytest]
#
# With arguments the second time is left out. In .venv of the repository, or what $VENV names
# (tools/setup_env.sh). MMVIDEOMAC_TEST_DATA names a folder of real data and golden files; without
# it the tests that need them are skipped.
set -euo pipefail
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}  # see tools/train.py
ROOT=$(cd "$(dirname "$0")/.." && pwd)
VENV=${VENV:-$ROOT/.venv}
bash "$ROOT/tools/setup_env.sh" --dev
BIN=$(cd "$VENV/bin" && pwd)
cd "$ROOT"
if [ -z "${MMVIDEOMAC_TEST_DATA:-}" ] && [ -d ../shared/golden ]; then
    MMVIDEOMAC_TEST_DATA=$(cd ../shared && pwd)
    export MMVIDEOMAC_TEST_DATA
fi

"$BIN/ruff" check .
"$BIN/ruff" format --check .
"$BIN/lint-imports"
if [ $# -gt 0 ]; then
    exec "$BIN/python" -m pytest "$@"
fi
VENV=$BIN/.. bash tools/install_minkowski.sh ||
    echo 'The tests against MinkowskiEngine are skipped, since it cannot be installed, see above.' >&2
bash tools/install_chromium.sh ||
    echo 'The test in a browser is skipped, since there is none, see above.' >&2
# A process for each core, and a core for each; a file stays in one, for its fixtures are shared.
PARALLEL=(-n "$("$BIN/python" -c 'import os; print(min(os.cpu_count(), 8))')" --dist loadfile
    --max-worker-restart 0)  # a process that dies must not be waited for
OMP_NUM_THREADS=1 "$BIN/python" -m pytest "${PARALLEL[@]}"

# Other instructions, and more threads, add in another order: a tolerance that holds on this
# processor alone fails.
NUMERICAL=(
    tests/test_models tests/test_ops tests/test_evaluation tests/test_golden.py
    tests/test_engine/test_trace.py tests/test_engine/test_resume.py tests/test_tools/test_train.py
    projects
)
CAPABILITY=$("$BIN/python" -c 'import torch; print(torch.backends.cpu.get_cpu_capability())')
case $CAPABILITY in
    AVX512) set -- avx2 AVX2 AVX2 ;;
    AVX2) set -- default SSE41 SSE4_2 ;;
    *)
        echo "Not run again on another instruction set: this processor has none beside $CAPABILITY."
        exit
        ;;
esac
echo "The numerical tests with $2 instead of $CAPABILITY:"
ATEN_CPU_CAPABILITY=$1 ONEDNN_MAX_CPU_ISA=$2 MKL_ENABLE_INSTRUCTIONS=$3 \
    "$BIN/python" -m pytest "${PARALLEL[@]}" "${NUMERICAL[@]}"
