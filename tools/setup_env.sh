#!/usr/bin/env bash
# Make an environment with everything that training needs.
#
#   bash tools/setup_env.sh [--dev] [--gpu] [--lowest]
#
#   --dev      also what the tests need
#   --gpu      install the GPU build of torch, though no GPU is seen here (cluster login nodes)
#   --lowest   of everything the lowest version that requirements/ allow, not the newest
#
# In .venv of the repository, or what $VENV names. Safe to repeat: returns at once when nothing
# changed. Uses $PYTHON (default: python3), the package index that pip is configured for, and a
# torch that the environment has already.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
VENV=${VENV:-$ROOT/.venv}
case $VENV in /*) ;; *) VENV=$PWD/$VENV ;; esac
cd "$ROOT"

DEV=0
GPU=0
LOWEST=0
for argument in "$@"; do
    case $argument in
        --dev) DEV=1 ;;
        --gpu) GPU=1 ;;
        --lowest) LOWEST=1 ;;
        *)
            echo "usage: $0 [--dev] [--gpu] [--lowest]" >&2
            exit 2
            ;;
    esac
done
if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then
    GPU=1
fi

fail() {
    echo "setup_env.sh: $*" >&2
    exit 1
}

PRESENT=$VENV/bin/python
PYTHON=${PYTHON:-$([ -x "$PRESENT" ] && echo "$PRESENT" || echo python3)}
command -v "$PYTHON" >/dev/null || fail "$PYTHON not found: install Python 3.10 or newer."
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "$("$PYTHON" --version 2>&1) is too old, 3.10 or newer is needed. Name another with PYTHON=python3.11 bash $0"
version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }
if [ -x "$PRESENT" ] && [ "$(version "$PYTHON")" != "$(version "$PRESENT")" ]; then
    fail "$VENV has Python $(version "$PRESENT"). Remove it, or name another: VENV=FOLDER PYTHON=$PYTHON bash $0"
fi

STAMP=$VENV/.mmvideomac
# With the folder, since a moved environment still refers to the old one.
FINGERPRINT="$PWD $(cat requirements/*.txt setup.cfg pyproject.toml tools/setup_env.sh | cksum) lowest=$LOWEST"
is_done() { [ -x "$VENV/bin/python" ] && [ "$(cat "$STAMP" 2>/dev/null)" = "$1" ]; }
# An environment with more than is asked for will do.
for dev in $DEV 1; do
    for gpu in $GPU 1; do
        if is_done "$FINGERPRINT dev=$dev gpu=$gpu"; then
            exit 0
        fi
    done
done

if [ ! -x "$VENV/bin/pip" ]; then
    echo "Making $VENV with $("$PYTHON" --version)"
    "$PYTHON" -m venv "$VENV" || {
        rm -rf "$VENV"
        fail "cannot make a virtual environment; Debian and Ubuntu have it in the package python3-venv."
    }
fi
rm -f "$STAMP"

# With --lowest every `name>=version` of the requirements becomes `name==version`.
PINS=$VENV/pins.txt
if [ $LOWEST = 1 ]; then
    sed -nE 's/^([A-Za-z0-9._-]+)>=([0-9.]+)$/\1==\2/p' requirements/*.txt >"$PINS"
else
    : >"$PINS"
fi
pip_install() {
    "$VENV/bin/python" -m pip install --disable-pip-version-check --constraint "$PINS" "$@"
}
has() { "$VENV/bin/python" -m pip show --quiet "$1" >/dev/null 2>&1; }

# From 77 for torch, below 82 for mmengine.hub.
pip_install -qq 'setuptools>=77,<82' wheel
TORCH=$("$VENV/bin/python" -c 'import torch
print("gpu" if torch.version.cuda or torch.version.hip else "cpu")' 2>/dev/null || echo none)
if [ $GPU = 1 ] && [ "$TORCH" = cpu ]; then
    "$VENV/bin/python" -m pip uninstall -qq --yes torch torchvision
    TORCH=none
fi
if [ "$TORCH" = none ]; then
    echo 'Installing torch. Where the package index has no CPU build of it for this Python, that is
the GPU build (several GB), which runs on a CPU as well.'
    # Not quiet, for the progress of the one big download.
    if [ $GPU = 0 ] && [ $LOWEST = 0 ] && pip_install torch==2.13.0; then
        # With its dependencies, pip would replace a CPU build by a GPU build.
        pip_install -qq --no-deps torchvision==0.28.0
    else
        pip_install -r <(grep -E '^torch(vision)?>=' requirements/runtime.txt)
    fi
fi
# The two exclude each other; keep what is there.
has mmcv || has mmcv-lite || pip_install -qq -r requirements/lite.txt

echo 'Installing mmvideomac and what it needs (about a minute)'
EXTRAS=samples
if [ $DEV = 1 ]; then
    EXTRAS=samples,dev
fi
pip_install -qq --no-build-isolation --editable ".[$EXTRAS]" || {
    has decord2 || echo 'If pip found no decord2 above: it has no wheel for this platform and Python. Repeat with
another Python (rm -rf .venv; PYTHON=python3.12 bash tools/setup_env.sh), or build it from source.' >&2
    fail 'the installation failed, see above. Repeat the command to continue.'
}
"$VENV/bin/python" -W ignore -c 'import mmvideomac' || fail 'mmvideomac cannot be imported, see above.'
if [ $GPU = 1 ] && nvidia-smi -L >/dev/null 2>&1; then
    "$VENV/bin/python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null ||
        fail 'torch is installed but cannot use the GPU: the driver (nvidia-smi) is too old for its CUDA. Update the
driver, or install an older torch into .venv from a package index that has one for it.'
fi
echo "$FINGERPRINT dev=$DEV gpu=$GPU" >"$STAMP"
echo "Ready: source ${VENV#"$ROOT"/}/bin/activate"
