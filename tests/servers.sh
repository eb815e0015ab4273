#!/bin/sh
# Installs the servers that tests need, from Debian, where this user may; `make test` calls it.
# Where it may not, or cannot, it names the tests that will be skipped. With CI=true a skipped test is a failure.
# No daemon is left running: tests start their own, on a free port of the loopback interface.
set -u

POLICY=/usr/sbin/policy-rc.d

missing() {
    ! command -v prometheus >/dev/null || ! command -v promtool >/dev/null
}

# The package would start a server of its own, now and at every boot: neither is wanted.
install_quietly() {
    if [ ! -e "$POLICY" ]; then
        trap 'rm -f "$POLICY"' EXIT
        trap 'exit 1' INT TERM
        printf '#!/bin/sh\nexit 101\n' >"$POLICY" && chmod 755 "$POLICY"
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq --no-install-recommends prometheus >/dev/null
    if command -v systemctl >/dev/null; then
        systemctl --quiet disable prometheus.service 2>/dev/null
        systemctl --quiet stop prometheus.service 2>/dev/null
    fi
}

if missing && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "installing prometheus, for tests"
    apt-get update -qq && install_quietly
fi
if missing; then
    echo "prometheus is not installed (as root: apt-get install prometheus); tests/integration/test_prometheus.py is skipped"
fi
exit 0
