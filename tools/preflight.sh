#!/bin/sh
# What `make` needs before it can set anything up. Prints "ok PYTHON", or one line that says what is missing and how to get it.
# Usage: preflight.sh PYTHON NEED...   PYTHON may be empty (search PATH); NEED is `simulate` (compiler, make, perl) or `headers`.

wanted=$1
[ $# -gt 0 ] && shift
debian='on Debian or Ubuntu: apt-get install'

fail() {
    echo "$1"
    exit 0
}

# --- Python 3.11 or newer ---
candidates=${wanted:-.venv/bin/python python3 python3.13 python3.12 python3.11}
python=
seen=
for candidate in $candidates; do
    version=$("$candidate" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
    seen="$seen $candidate is $version,"
done
if [ -z "$python" ]; then
    if [ -n "$seen" ]; then found="found only:${seen%,}"; else found="found none (tried: $candidates)"; fi
    fail "tetrit needs Python 3.11 or newer, $found; $debian python3 python3-venv python3-dev, or name one: make PYTHON=/path/to/python3"
fi
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
"$python" -c 'import ensurepip, venv' 2>/dev/null \
    || fail "$python cannot make virtual environments (no venv or ensurepip); $debian python$version-venv"

for need in "$@"; do
    case $need in
    simulate)
        for tool in make perl; do
            command -v $tool >/dev/null 2>&1 || fail "$tool is missing (Verilator's builds run it); $debian $tool"
        done
        compiler=
        for tool in ${CXX:-c++ g++ clang++}; do
            command -v "$tool" >/dev/null 2>&1 && compiler=$tool && break
        done
        [ -n "$compiler" ] || fail "a C++ compiler is missing (tried: ${CXX:-c++ g++ clang++}); $debian g++"
        echo 'int main() { if constexpr (true) return 0; }' | "$compiler" -std=c++17 -fsyntax-only -x c++ - 2>/dev/null \
            || fail "the C++ compiler '$compiler' is too old or broken (it refuses a C++17 program); $debian g++"
        "$python" -c 'import ctypes, os, sys, sysconfig as s
v = s.get_config_vars()
name = "libpython%d.%d" % sys.version_info[:2]
names = [v.get("INSTSONAME") or "", name + ".so", name + ".so.1.0", name + ".dylib"]
places = [v.get("LIBDIR") or "", os.path.join(v.get("LIBDIR") or "", v.get("MULTIARCH") or ""), sys.base_prefix + "/lib"]
paths = [os.path.join(p, n) for p in places for n in names if n and not n.endswith(".a")]
sys.exit(not (sys.platform == "darwin" or any(os.path.exists(p) for p in paths)))' 2>/dev/null \
            || fail "$python has no shared library libpython$version (cocotb loads it into the simulator); $debian libpython$version"
        ;;
    headers)
        "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' 2>/dev/null \
            || fail "$python has no headers (Python.h; a test oracle is compiled); $debian python$version-dev"
        ;;
    esac
done
echo "ok $python"
