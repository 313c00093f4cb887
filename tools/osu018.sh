#!/bin/sh
# A real cell library with full tables for the tests and bench/liberty.py: OSU's 0.18 um cells, out of Debian's package
# qflow-tech-osu018, unpacked into .venv/osu018 (or the folder named) and not installed; it is GPL data and no part of this
# package. Never fails: where it cannot be had, tests that need it check the message for a missing file.

name=osu018_stdcells.lib
folder=${1:-.venv/osu018}
[ -f "$folder/$name" ] && exit 0
inside=usr/share/qflow/tech/osu018/$name
mkdir -p "$folder" && folder=$(cd "$folder" && pwd) || exit 0
if [ -f "/$inside" ]; then
    cp "/$inside" "$folder/$name"
    exit 0
fi
if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-deb >/dev/null 2>&1; then
    echo "OSU018 cells: no apt-get here; copy $inside out of Debian's package qflow-tech-osu018 to $folder. The tests go on without it"
    exit 0
fi

work=$(mktemp -d) || exit 0
trap 'rm -rf "$work"' EXIT
get() { (cd "$work" && timeout 120 apt-get download qflow-tech-osu018 >/dev/null 2>&1); }
if get || { [ "$(id -u)" = 0 ] && timeout 120 apt-get update >/dev/null 2>&1 && get; }; then
    dpkg-deb -x "$work"/*.deb "$work/tree" 2>/dev/null && mv "$work/tree/$inside" "$folder/$name"
fi
[ -f "$folder/$name" ] || echo 'OSU018 cells (qflow-tech-osu018) could not be fetched; the tests go on without them'
exit 0
