#!/bin/sh
# Fashion-MNIST for the tests, from Debian's package, where this user may install packages. Never fails: where it cannot be
# had, the test of it checks the message that says what to install.

[ -d /usr/share/datasets/fashion-mnist ] && exit 0
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || exit 0

get() {
    DEBIAN_FRONTEND=noninteractive timeout 120 apt-get install --yes --no-install-recommends dataset-fashion-mnist >/dev/null 2>&1
}
get || { timeout 120 apt-get update >/dev/null 2>&1 && get; } || echo 'Fashion-MNIST (dataset-fashion-mnist) could not be installed; the tests go on without it'
exit 0
