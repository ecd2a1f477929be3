#!/bin/sh
# Makes .venv ready: `tools/setup.sh run` for the tool itself, `tools/setup.sh test` for its tests
# too. Does nothing when nothing changed. Needs Python 3.11 or newer; where the virtual environment
# module is missing and this is root on Debian, installs it.
set -eu
cd "$(dirname "$0")/.."
want=${1:-run}

say() { echo "setup: $*" >&2; }

find_python() {
    for candidate in ${PYTHON:-} python3 python3.11 python3.12 python3.13 python3.14; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    say "Python 3.11 or newer is needed; install it, or name it: make PYTHON=/path/to/python3"
    return 1
}

install_debian() { # PACKAGE...: quietly, and only what is missing
    missing=
    for package in "$@"; do
        state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
        [ "$state" = installed ] || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    say "installing$missing"
    # A daemon that a package brings must not start on this machine for the sake of our tests.
    policy=
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
    fi
    status=0
    log=$(mktemp)
    # shellcheck disable=SC2086 # a list of words
    {
        DEBIAN_FRONTEND=noninteractive apt-get update -q &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
    } >"$log" 2>&1 || status=$?
    [ -z "$policy" ] || rm -f "$policy"
    if [ "$status" -ne 0 ]; then
        tail -5 "$log" >&2
        say "apt-get failed; its output is in $log"
        return 1
    fi
    rm -f "$log"
}

is_root_on_debian() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; }

pip_install() { # what it says is only of interest when it fails
    if ! .venv/bin/python -m pip install -q --disable-pip-version-check "$@" >.venv/pip.log 2>&1
    then
        tail -15 .venv/pip.log >&2
        return 1
    fi
}

make_venv() {
    python=$(find_python)
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        if is_root_on_debian; then
            install_debian "python$version-venv"
        else
            say "$python lacks the venv module; install it (on Debian: python$version-venv)"
            return 1
        fi
    fi
    rm -rf .venv
    "$python" -m venv .venv
    pip_install --require-hashes -r requirements/pip.lock
}

# The stamps hold what was installed from; a moved checkout needs a new environment too.
inputs() { { pwd; cat requirements/*.lock pyproject.toml setup.cfg; } | cksum; }
stamp=.venv/ready-$want
if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$(inputs)" ]; then
    exit 0
fi

if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c '' 2>/dev/null ||
    [ "$(cat .venv/home 2>/dev/null)" != "$(pwd)" ]; then
    say "making .venv"
    make_venv
    pwd >.venv/home
fi

say "installing locked dependencies"
pip_install --require-hashes -r requirements/run.lock
if command -v cc >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1; then
    pip_install --require-hashes --no-build-isolation -r requirements/iptables.lock ||
        say "python-iptables did not build; the audit goes on without that second witness"
else
    say "no C compiler: python-iptables (second reading of legacy tables, local audits) is left out"
fi
if [ "$want" = test ]; then
    pip_install --require-hashes -r requirements/dev.lock
    if is_root_on_debian; then
        # shellcheck disable=SC2046 # a list of words
        install_debian $(grep -v '^#' tests/system-packages.txt)
    else
        say "not root on Debian: system packages are not installed; tests that lack them are skipped"
    fi
fi
pip_install --no-deps --no-build-isolation -e .
inputs >"$stamp"
