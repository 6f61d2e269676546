#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What we write for Prometheus, by its own judgement: promtool finds no fault with the metrics, the rules or the
# dashboard's names; a real Prometheus scrapes a running service, and the queries of dashboards made for resilience4j
# and of our own each return data.
#
# tests/monitoring/prometheus.sh [program]     example_monitored_service, built already
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

dir=$(mktemp -d)
pids=()
cleanup() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; done
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
    cmake --preset release >"$dir/cmake.log" 2>&1 || { cat "$dir/cmake.log"; exit 1; }
    cmake --build build/release --target example_monitored_service
    program=build/release/examples/example_monitored_service
fi

# start <prefix>: runs the service for at most two minutes; the address of its metrics is then in $url.
start() {
    "$program" 0 120 "$1" >"$dir/$1.out" &
    pids+=($!)
    for _ in {1..100}; do
        url=$(grep -m 1 -o 'http://[^ ]*' "$dir/$1.out" || true)/metrics
        [[ $url != /metrics ]] && curl -fsS "$url" -o "$dir/$1.metrics" 2>/dev/null && return
        sleep 0.1
    done
    echo "the service does not answer" >&2
    exit 1
}
start resilience
ours=$url
start resilience4j
theirs=$url

no_findings() { # promtool prints its warnings and may still exit with 0
    local said
    said=$(promtool check metrics 2>&1) || { echo "$said"; return 1; }
    [[ -z $said ]] || { echo "$said"; return 1; }
}
# Once the services have worked for a while.
sleep 4
for address in "$ours" "$theirs"; do
    curl -fsS "$address" >"$dir/metrics"
    families=$(grep -c '^# TYPE' "$dir/metrics")
    verdict "promtool check metrics ($families families)" no_findings <"$dir/metrics"
done
type=$(curl -fsS -o /dev/null -w '%{content_type}' "$ours")
verdict "content type" test "$type" = "text/plain; version=0.0.4; charset=utf-8"

cat >"$dir/prometheus.yml" <<YAML
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: services
    static_configs:
      - {targets: ["${ours#http://}"], labels: {application: ours}}
      - {targets: ["${theirs#http://}"], labels: {application: theirs}}
YAML
sed -i 's|/metrics"|"|' "$dir/prometheus.yml"
verdict "promtool check config" promtool check config "$dir/prometheus.yml"

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
prometheus --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/data" \
    --web.listen-address="127.0.0.1:$port" >"$dir/prometheus.log" 2>&1 &
pids+=($!)

# answer <query>: the result of an instant query, in JSON; [] if there is none.
answer() {
    curl -sS --get "http://127.0.0.1:$port/api/v1/query" --data-urlencode "query=$1" 2>/dev/null |
        python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["data"]["result"]))' 2>/dev/null
}
has_data() {
    local result
    result=$(answer "$1") && [[ -n $result && $result != "[]" ]]
}
ready='sum(count_over_time(up[1m]) >= 5 and up == 1) and count(up == 1) == 2'
for _ in {1..300}; do has_data "$ready" && break; sleep 0.1; done
verdict "both services were scraped five times" has_data "$ready"

# The panels for circuit breakers and retries of the dashboard that resilience4j publishes, with a choice made for its
# variables. Those of durations have data for circuits that time their calls.
all='instance=~".+",name=~".+"'
while IFS= read -r query; do
    [[ -z $query ]] || verdict "data for $query" has_data "$query"
done <<QUERIES
sum(resilience4j_circuitbreaker_state{state="closed"})
sum(resilience4j_circuitbreaker_state{state=~"open|forced_open"})
sum(resilience4j_circuitbreaker_state{state="half_open"})
resilience4j_circuitbreaker_state{instance=~".+"}
resilience4j_circuitbreaker_failure_rate{$all}
resilience4j_circuitbreaker_slow_call_rate{$all}
rate(resilience4j_circuitbreaker_calls_seconds_count{$all}[1m])
rate(resilience4j_circuitbreaker_calls_total{$all}[1m])
rate(resilience4j_circuitbreaker_not_permitted_calls_total{$all}[1m])
resilience4j_circuitbreaker_buffered_calls{$all}
histogram_quantile(0.9, sum(rate(resilience4j_circuitbreaker_calls_seconds_bucket{application=~"theirs",$all}[1m])) by (le)) > 0
histogram_quantile(0.5, sum(rate(resilience4j_circuitbreaker_calls_seconds_bucket{application=~"theirs",$all}[1m])) by (le)) > 0
increase(resilience4j_circuitbreaker_calls_seconds_sum{$all}[1m]) / increase(resilience4j_circuitbreaker_calls_seconds_count{$all}[1m]) > 0
sum(increase(resilience4j_circuitbreaker_calls_seconds_sum{$all}[1m])) / sum(increase(resilience4j_circuitbreaker_calls_seconds_count{$all}[1m])) > 0
resilience4j_circuitbreaker_max_buffered_calls{$all}
rate(resilience4j_retry_calls_total{application=~"theirs",name=~".+"}[1m]) > 0
count by (kind) (resilience4j_retry_calls_total) == 2
resilience4j_timelimiter_calls_total{application=~"theirs",kind="successful"} > 0
QUERIES

# The queries of our own dashboard, with every name chosen.
python3 - >"$dir/queries" <<'PYTHON'
import json
def targets(panels):
    for panel in panels:
        yield from (t["expr"] for t in panel.get("targets", []))
        yield from targets(panel.get("panels", []))
for expr in targets(json.load(open("docs/monitoring/grafana-dashboard.json"))["panels"]):
    for variable in ("$instance", "$name"):
        expr = expr.replace(variable, ".+")
    print(expr.replace("$__rate_interval", "1m").replace("$datasource", ""))
PYTHON
while IFS= read -r query; do verdict "data for $query" has_data "$query"; done <"$dir/queries"

rules=docs/monitoring/alerts
verdict "promtool check rules" promtool check rules "$rules.yml"
verdict "promtool test rules" promtool test rules "${rules}_test.yml"
while read -r alert; do
    verdict "a runbook for $alert" test -s "docs/monitoring/runbooks/$alert.md"
done < <(sed -n 's/^ *- alert: //p' "$rules.yml")

echo "prometheus: $checks cases, $failed failed"
((failed == 0))
