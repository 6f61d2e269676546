#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# clang-tidy (.clang-tidy) over every public header, seen through one file that includes them all, and over the small
# examples; with --all also over the demo, the larger examples and the benchmarks, which takes twice as long.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake -D RESILIENCE_GENERATED="$work/include" -P cmake/dashboard.cmake
find include/resilience -name '*.hpp' | sort | sed 's,include/\(.*\),#include <\1>,' >"$work/all_headers.cpp"
programs=(examples/*.cpp)
[[ ${1:-} != --all ]] || mapfile -t programs < <(find examples benchmarks -name '*.cpp' | sort)
# Debian's Asio has to be told that clang has coroutines.
dependency_flags="-isystem $work/include $(pkg-config --cflags cpp-httplib 2>/dev/null || true) -DASIO_HAS_CO_AWAIT -DASIO_HAS_STD_COROUTINE"
export dependency_flags

# tidy <file>: what is found in headers is told once, for the file of all headers; a program may end by an exception.
tidy() {
    local own=()
    [[ $1 == */all_headers.cpp ]] || own=('--header-filter=^$' '--checks=-bugprone-exception-escape')
    # shellcheck disable=SC2086
    clang-tidy-19 --quiet --config-file=.clang-tidy "${own[@]}" "$1" -- -std=c++20 -Iinclude $dependency_flags 2>&1 |
        { grep -vE '^[0-9]+ warnings? (and|generated)|^Suppressed|^Use -header-filter|^$' || true; }
}
export -f tidy

# As many at once as there are processors.
tidied=0
printf '%s\0' "$work/all_headers.cpp" "${programs[@]}" |
    # shellcheck disable=SC2016
    xargs -0 -P "$(nproc)" -I{} bash -o pipefail -c 'tidy "$1"' - {} | tee "$work/findings" || tidied=1
problems=$(grep -cE ': (warning|error): ' "$work/findings" || true)
echo "clang-tidy: every header and ${#programs[@]} programs, $problems findings"
((problems == 0 && tidied == 0))
