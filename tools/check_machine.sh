#!/usr/bin/env bash
# Check a machine, with a GPU or without, from a source tree and without a network.
#
#   bash tools/check_machine.sh [--wheels FOLDER] [arguments of tools/check_machine.py]
#
#   --wheels FOLDER   install what is lacking from these files, into a folder of its own
#   --data FOLDER     train on your clips instead of the sample clips
#   --out FOLDER      default: work_dirs/check_machine
#   --minutes N       for all (default 8)
#
# Uses $PYTHON, else .venv of the repository, else python3; it must have torch.
set -euo pipefail
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}  # see tools/train.py
ROOT=$(cd "$(dirname "$0")/.." && pwd)
VENV=${VENV:-$ROOT/.venv}
PYTHON=${PYTHON:-$([ -x "$VENV/bin/python" ] && echo "$VENV/bin/python" || echo python3)}
fail() {
    echo "check_machine.sh: $*" >&2
    exit 1
}

WHEELS=
ARGUMENTS=()
while [ $# -gt 0 ]; do
    case $1 in
        --wheels)
            [ $# -gt 1 ] && [ -d "$2" ] || fail "--wheels ${2:-}: no such folder"
            WHEELS=$(cd "$2" && pwd)
            shift
            ;;
        *) ARGUMENTS+=("$1") ;;
    esac
    shift
done

"$PYTHON" -c 'import torch' 2>/dev/null ||
    fail "$PYTHON has no torch. Name one that has: PYTHON=/path/to/python bash $0"
if [ -n "$WHEELS" ]; then
    # Over that Python's packages, which stay as they are: torch above all. pip is theirs too.
    OWN=$ROOT/work_dirs/check_machine/venv
    "$PYTHON" -m venv --system-site-packages --without-pip "$OWN" ||
        fail "cannot make a virtual environment; Debian and Ubuntu have it in the package python3-venv."
    packages() { "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }
    packages "$PYTHON" >"$(packages "$OWN/bin/python")/outer.pth"  # it may be an environment itself
    PYTHON=$OWN/bin/python
    HAVE=$("$PYTHON" -c 'import torch; print("torch==" + torch.__version__)')
    NEEDED=(-r "$ROOT/requirements/runtime.txt" -r "$ROOT/requirements/samples.txt")
    "$PYTHON" -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("mmcv"))' ||
        NEEDED+=(-r "$ROOT/requirements/lite.txt")
    "$PYTHON" -m pip install -q --disable-pip-version-check --no-index --find-links "$WHEELS" \
        --constraint <(echo "$HAVE") "${NEEDED[@]}" pytest hypothesis ||
        fail "the wheels in $WHEELS do not do, see above."
fi
export PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH}
"$PYTHON" -W ignore -c 'import mmvideomac' || fail "packages are lacking, see above: bash tools/setup_env.sh, or --wheels FOLDER."
exec "$PYTHON" -W ignore "$ROOT/tools/check_machine.py" ${ARGUMENTS[@]+"${ARGUMENTS[@]}"}
