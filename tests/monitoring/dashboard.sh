#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The dashboard in a real Chromium: every case against a service that is played (dashboard/mock.mjs), and what must
# hold with any against a running one.
#
# tests/monitoring/dashboard.sh [program]               example_monitored_service, built already
# tests/monitoring/dashboard.sh --pictures <folder>     no tests: light.png, dark.png, narrow.png, as in docs/monitoring
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

for tool in chromium node npm; do
    command -v "$tool" >/dev/null || { ./run install dashboard; break; }
done

here=tests/monitoring/dashboard
work=build/dashboard
mkdir -p "$work"
cp "$here/package.json" "$here/package-lock.json" "$work"
# Installed once for each lock file.
if ! cmp -s "$work/package-lock.json" "$work/installed"; then
    npm ci --prefix "$work" --ignore-scripts --no-audit --no-fund >"$work/npm.log" 2>&1 || { cat "$work/npm.log"; exit 1; }
    cp "$work/package-lock.json" "$work/installed"
fi
export RESILIENCE_NODE_MODULES=$work/node_modules
cmake -D RESILIENCE_GENERATED="$work/include" -P cmake/dashboard.cmake
header=$work/include/resilience/dashboard_page.hpp

if [[ ${1:-} == --pictures ]]; then
    exec node "$here/check.mjs" "$header" --pictures "$2"
fi

program=${1:-}
if [[ -z $program ]]; then
    cmake --preset release >"$work/cmake.log" 2>&1 || { cat "$work/cmake.log"; exit 1; }
    cmake --build build/release --target example_monitored_service
    program=build/release/examples/example_monitored_service
fi

out=$work/cases
node "$here/check.mjs" "$header" | tee "$out" || true
"$program" 0 600 >"$work/service" &
service=$!
trap 'kill "$service" 2>/dev/null || true' EXIT
for _ in {1..100}; do
    url=$(grep -om1 'http://[^/ ]*' "$work/service" || true)
    [[ -n $url ]] && curl -fsS "$url/dashboard" -o /dev/null 2>/dev/null && break
    sleep 0.1
done
node "$here/check.mjs" "$url" | tee -a "$out" || true

# The counts of both runs as one; a run that ended before its count is a failure.
awk -v runs=2 '
    /^dashboard, .* failed$/ { counts += 1; cases += $(NF - 3); failed += $(NF - 1) }
    END {
        if (counts < runs) failed += 1
        printf "dashboard: %d cases, %d failed\n", cases, failed
        exit failed != 0
    }' "$out"
