#!/bin/sh
# Chromium for the tests of the pages, from the distribution's package, where this user may install packages. Quiet where it
# is there already. Never fails: where it cannot be had, it says what to install, and so do the tests that need it.

for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null 2>&1 && exit 0
done

get() {
    DEBIAN_FRONTEND=noninteractive timeout 300 apt-get install --yes --no-install-recommends chromium >/dev/null 2>&1
}
if [ "$(id -u 2>/dev/null)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    get || { timeout 120 apt-get update >/dev/null 2>&1 && get; } && exit 0
fi
echo 'Chromium could not be installed: the tests in tests/browser need the command chromium, chromium-browser or google-chrome'
exit 0
