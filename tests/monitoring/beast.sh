#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The monitoring API behind Boost.Beast, asked by curl: answers, streams, and what no client should send.
#
# tests/monitoring/beast.sh [program]     example_beast_monitoring_server, built already
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

dir=$(mktemp -d)
pid=
cleanup() {
    [[ -z $pid ]] || kill "$pid" 2>/dev/null || true
    rm -rf "$dir"
}
trap cleanup EXIT

checks=0 failed=0
# verdict <what> <command>...: the command must succeed.
verdict() {
    local what=$1
    shift
    checks=$((checks + 1))
    if "$@"; then echo "ok: $what"; else echo "FAILED: $what"; failed=$((failed + 1)); fi
}

program=${1:-}
if [[ -z $program ]]; then
    cmake --preset boost >"$dir/cmake.log" 2>&1 || { cat "$dir/cmake.log"; exit 1; }
    cmake --build build/boost --target example_beast_monitoring_server
    program=build/boost/examples/example_beast_monitoring_server
fi
"$program" 0 15 >"$dir/out" &
pid=$!
for _ in {1..100}; do
    url=$(grep -o 'http://[^ ]*' "$dir/out" || true)
    [[ -n $url ]] && break
    sleep 0.1
done
api=$url/api/v1/resilience

# From the beginning to the end of the service: what comes must end well, with the last chunk.
curl -sS -N "$api/events/stream" >"$dir/whole_stream" 2>"$dir/whole_stream.errors" &
whole=$!

# ask <curl arguments>...: the answer is then in $dir/header and $dir/body, its status in $status.
ask() { status=$(curl -sS --max-time 10 -D "$dir/header" -o "$dir/body" -w '%{http_code}' "$@" 2>"$dir/errors" || true); }
header() { tr -d '\r' <"$dir/header" | sed -n "s/^$1: //Ip"; }

ask "$api/health"
verdict "GET /health is 200" test "$status" = 200
verdict "its body is JSON with a status" grep -q '^{"status":"' "$dir/body"
verdict "its length is told" test "$(header Content-Length)" = "$(stat -c %s "$dir/body")"
verdict "nobody keeps it" test "$(header Cache-Control)" = no-store

ask "$url/metrics"
verdict "GET /metrics is 200" test "$status" = 200
verdict "metrics of the circuit" grep -q '^resilience_circuitbreaker_state{name="jira_api",state="closed"}' "$dir/body"

ask "$url/dashboard"
verdict "GET /dashboard is 200" test "$status" = 200
verdict "its policy forbids what it does not need" grep -q "default-src 'none'" "$dir/header"
page=$(stat -c %s "$dir/body")
ask --head "$url/dashboard"
verdict "HEAD /dashboard is 200" test "$status" = 200
verdict "HEAD tells the length of GET" test "$(header Content-Length)" = "$page"

connects=$(curl -sS -o /dev/null -o /dev/null -I -w '%{num_connects} ' "$api/live" "$url/dashboard")
verdict "a connection serves HEAD and the next request" test "$connects" = "1 0 "
ask --http1.0 "$api/live"
verdict "HTTP/1.0 is answered" test "$status" = 200

status=$(curl -sS -N --max-time 2 -D "$dir/header" -o "$dir/body" -w '%{http_code}' "$api/events/stream?since=1" 2>/dev/null || true)
verdict "GET /events/stream is 200" test "$status" = 200
verdict "it is a stream of events" test "$(header Content-Type)" = text/event-stream
verdict "it begins with the time to come back" test "$(head -n 1 "$dir/body")" = "retry: 2000"
verdict "events come" grep -q '^data: {"number":1,' "$dir/body"
ask --head "$api/events/stream"
verdict "HEAD of the stream is 200 and ends" test "$status" = 200
ask --http1.0 "$api/events/stream"
verdict "HTTP/1.0, which has no chunks, gets no stream" test "$status" = 505

# More streams than threads, and answers beside them.
streams=()
for _ in {1..20}; do
    curl -sS -N --max-time 2 -o /dev/null "$api/events/stream" 2>/dev/null &
    streams+=($!)
done
sleep 0.5
ask --max-time 1 "$api/live"
verdict "an answer beside 20 streams" test "$status" = 200
wait "${streams[@]}" || true

head -c 102400 /dev/zero | tr '\0' x >"$dir/large"
ask --data-binary "@$dir/large" "$api/health"
verdict "a body of 100 KB is refused: 413" test "$status" = 413
ask -H "Transfer-Encoding: chunked" --data-binary "@$dir/large" "$api/health"
verdict "and in chunks: 413" test "$status" = 413
head -c 60000 "$dir/large" >"$dir/small"
ask --data-binary "@$dir/small" "$api/health"
verdict "one of 60 KB is read, and the method refused: 405" test "$status" = 405
ask -H "X-Long: $(head -c 20000 "$dir/large")" "$api/health"
verdict "a header of 20 KB is refused: 431" test "$status" = 431

# raw <text>: sends it as it is; the first line of the answer.
raw() {
    local address=${url#http://}
    exec 3<>"/dev/tcp/${address%:*}/${address##*:}"
    # shellcheck disable=SC2059
    printf "$1" >&3
    timeout 5 head -n 1 <&3 | tr -d '\r'
    exec 3>&-
}
verdict "a malformed request line: 400" test "$(raw 'NONSENSE\r\n\r\n')" = "HTTP/1.1 400 Bad Request"
verdict "a malformed header: 400" test "$(raw 'GET / HTTP/1.1\r\nno colon\r\n\r\n')" = "HTTP/1.1 400 Bad Request"
verdict "broken percent-encoding: 400" test "$(raw 'GET /api/v1/resilience/circuit-breakers/%%zz HTTP/1.1\r\n\r\n')" = "HTTP/1.1 400 Bad Request"

ask "$api/live"
verdict "after all that it still answers" test "$status" = 200
verdict "it ends by itself" wait "$pid"
pid=
verdict "its streams end whole" wait "$whole"
verdict "and without complaints" test ! -s "$dir/whole_stream.errors"
verdict "events came until the end" test "$(grep -c '^id: ' "$dir/whole_stream")" -gt 10

echo "beast: $checks cases, $failed failed"
((failed == 0))
