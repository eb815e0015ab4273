#!/bin/sh
# Installs the servers that tests need, from Debian, where this user may; `make test` calls it.
# Where it may not, or cannot, it names the tests that will be skipped. With CI=true a skipped test is a failure.
# No daemon is left running: tests start their own, on a free port of the loopback interface.
set -u

POLICY=/usr/sbin/policy-rc.d

# The packages whose programs are not there.
missing() {
    command -v prometheus >/dev/null && command -v promtool >/dev/null || printf 'prometheus '
    command -v chromium >/dev/null || printf 'chromium '
    command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || printf 'postgresql '
}

# The packages would start servers of their own, now and at every boot: neither is wanted.
install_quietly() {
    if [ ! -e "$POLICY" ]; then
        trap 'rm -f "$POLICY"' EXIT
        trap 'exit 1' INT TERM
        printf '#!/bin/sh\nexit 101\n' >"$POLICY" && chmod 755 "$POLICY"
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq --no-install-recommends "$@" >/dev/null
    if command -v systemctl >/dev/null; then
        for package in "$@"; do
            systemctl --quiet disable "$package.service" 2>/dev/null
            systemctl --quiet stop "$package.service" 2>/dev/null
        done
    fi
}

if [ -n "$(missing)" ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "installing $(missing)for tests"
    apt-get update -qq && install_quietly $(missing)
fi
for package in $(missing); do
    case $package in
    prometheus) tests="tests/integration/test_prometheus.py" ;;
    chromium) tests="tests/integration/test_console*.py" ;;
    postgresql) tests="tests/unit/test_postgres.py, tests/integration/test_hosts.py and all tests [postgresql]" ;;
    esac
    echo "$package is not installed (as root: apt-get install $package); skipped: $tests"
done
exit 0
