#!/usr/bin/env bash
# Install MinkowskiEngine 0.5.4 (for the CPU), which sparse_backend='minkowski' runs on.
#
#   bash tools/install_minkowski.sh
#
# Into .venv, which tools/setup_env.sh makes, or the virtual environment that $VENV names. Building
# takes about 5 minutes on 2 cores; MAX_JOBS says how many compilers run at once (default: one for
# each core). The wheel is kept for the next time, in $MMVIDEOMAC_WHEELS (default:
# $XDG_CACHE_HOME/mmvideomac/wheels, ~/.cache/mmvideomac/wheels). Returns at once when installed.
#
# Needs g++, the headers of Python and OpenBLAS; installs the latter two where it is run by root
# on Debian or Ubuntu. There is no GPU build: the last release does not compile on CUDA 12.
set -euo pipefail

fail() {
    echo "install_minkowski.sh: $*" >&2
    exit 1
}

[ $# = 0 ] || fail "takes no arguments. It builds for the CPU: MinkowskiEngine 0.5.4 does not compile on CUDA 12 or newer."
ROOT=$(cd "$(dirname "$0")/.." && pwd)
VERSION=0.5.4
VENV=$(cd "${VENV:-$ROOT/.venv}" 2>/dev/null && pwd) ||
    fail "no environment at ${VENV:-$ROOT/.venv}: run bash tools/setup_env.sh first."
PYTHON=$VENV/bin/python
TORCH=$("$PYTHON" -c 'import torch; print(torch.__version__)' 2>/dev/null) ||
    fail "no torch in $VENV: run bash tools/setup_env.sh first."

works() {
    # It imports a name that Python 3.10 removed.
    "$PYTHON" -W ignore -c '
import collections, collections.abc
collections.Sequence = collections.abc.Sequence
import MinkowskiEngine
assert MinkowskiEngine.__version__ == "'$VERSION'", MinkowskiEngine.__version__'
}
if works 2>/dev/null; then
    exit 0
fi

# What compiled code depends on: a wheel made for another torch may load and then crash.
TAG=$("$PYTHON" -c 'import sys, platform
print(f"cp{sys.version_info.major}{sys.version_info.minor}-{platform.machine()}")')
CACHE=${MMVIDEOMAC_WHEELS:-${XDG_CACHE_HOME:-$HOME/.cache}/mmvideomac/wheels}/minkowski-$VERSION-torch$TORCH-$TAG
wheel() { find "$CACHE" -maxdepth 1 -name 'MinkowskiEngine-*.whl' 2>/dev/null | head -n 1; }

# ---- system packages
command -v g++ >/dev/null || fail 'needs a C++ compiler: install g++ (Debian, Ubuntu) or gcc-c++ (Fedora).'
has_openblas() {
    echo '#include <cblas.h>
int main() { return 0; }' | g++ -x c++ - -lopenblas -o /dev/null 2>/dev/null
}
has_python_headers() {
    [ -f "$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]
}
PACKAGES=()
has_openblas || PACKAGES+=(libopenblas-dev)
# Only the interpreters of the distribution come without.
has_python_headers || PACKAGES+=("$("$PYTHON" -c 'import sys; print("python%d.%d-dev" % sys.version_info[:2])')")
if [ ${#PACKAGES[@]} -gt 0 ]; then
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
        fail "needs headers of a system package. Ask an administrator for: apt-get install ${PACKAGES[*]}"
    echo "Installing ${PACKAGES[*]}"
    LOG=$(mktemp)
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${PACKAGES[@]}"; } \
        >"$LOG" 2>&1 || fail "apt-get could not install ${PACKAGES[*]}, see $LOG"
    rm -f "$LOG"
fi

# ---- wheel
if [ -z "$(wheel)" ]; then
    mkdir -p "$CACHE"
    LOG=$CACHE/build.log
    # Here, so that the last step is a rename: an interrupted build leaves no wheel.
    BUILD=$(mktemp -d "$CACHE/build.XXXXXX")
    trap 'rm -rf "$BUILD"' EXIT
    echo "Building MinkowskiEngine $VERSION for torch $TORCH (about 5 minutes on 2 cores), log: $LOG"
    # It needs a setuptools older than torch allows, so it is built next to the environment,
    # whose torch the path file lends.
    packages_of() { "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))'; }
    {
        "$PYTHON" -m venv "$BUILD/venv" &&
            "$BUILD/venv/bin/python" -m pip install --upgrade 'setuptools<72' wheel ninja &&
            packages_of "$VENV" >"$(packages_of "$BUILD/venv")/lent.pth"
    } >"$LOG" 2>&1 || fail "cannot prepare the build, see $LOG"
    # Its setup.py runs the first `pip` of the path to uninstall MinkowskiEngine, so that pip has
    # to be the one of the throwaway environment. pip's own cache forgets the version of torch.
    (
        export PATH=$BUILD/venv/bin:$PATH MAX_JOBS=${MAX_JOBS:-$(nproc)}
        exec "$BUILD/venv/bin/python" -m pip wheel --verbose --no-deps --no-cache-dir \
            --no-build-isolation --use-pep517 --no-binary MinkowskiEngine \
            --config-settings='--global-option=--cpu_only --blas=openblas' \
            --wheel-dir "$BUILD/wheel" "MinkowskiEngine==$VERSION"
    ) 2>&1 | tee -a "$LOG" | sed -nu -E 's/^ *(\[[0-9]+\/[0-9]+\]) .*/  compiled \1/p' ||
        fail "the build failed, see $LOG"
    mv "$BUILD"/wheel/MinkowskiEngine-*.whl "$CACHE"
fi

# ---- environment
# Without dependencies: it would have pip look for another torch.
"$PYTHON" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall "$(wheel)" ||
    fail "cannot install $(wheel), see above."
works || fail "MinkowskiEngine was installed but cannot be imported, see above. To build it anew: rm -r $CACHE"
echo "MinkowskiEngine $VERSION is installed in $VENV"
