// SPDX-License-Identifier: Apache-2.0
// A service as the dashboard sees it: the routes of the monitoring API over data that a test, or time, changes.
//
// node mock.mjs [header [port [circuits]]]     one to look at: it trips and recovers by itself; token "secret"
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";

const root = "/api/v1/resilience";
const oddNames = ['<img src=x onerror=alert(1)>', 'a/b "c"', "100% \u00e4\u{1f600}", "constructor", "__proto__"];

/// The page and its policy as a compiler would read them from the generated header.
export function readHeader(path) {
    const text = readFileSync(path, "utf8");
    const page = [...text.matchAll(/R"(\w*)\(([\s\S]*?)\)\1"/g)].map((piece) => piece[2]).join("");
    return { page, policy: /dashboard_policy =\s*"([^"]*)"/.exec(text)[1] };
}

export class Service {
    circuits = new Map();
    others = [];
    events = [];
    keptFrom = 1; // older events have made room
    requests = []; // "POST /path", as they came
    streams = new Set();
    /// What a test switches: refuseStreams (503), offersEvents, control, token ("" for none), showsErrors
    /// (their texts), slowMs (before each answer), away (connections break).
    constructor({ page, policy, circuits = 2, names = null, folder = "", refuseStreams = false, offersEvents = true, control = true, token = "", showsErrors = false, slowMs = 0, port = 0 }) {
        Object.assign(this, { page, policy, folder, refuseStreams, offersEvents, control, token, showsErrors, slowMs, port });
        if (names === null) {
            names = ["jira_api", "confluence_api", ...oddNames];
            for (let i = names.length; i < circuits; ++i) names.push(`service_${String(i).padStart(3, "0")}`);
            names = names.slice(0, circuits);
        }
        names.forEach((name, i) => this.circuits.set(name, circuit(name, i)));
        this.others = [
            otherPolicy("abandoning_timeout", "confluence_api", { limit: "1s", workers: 4 }, { calls: 400, in_time: 390, timed_out: 10, cancelled: 0, abandoned_workers: 1 }),
            otherPolicy("bulkhead", "an_unknown_kind", { permits: 8 }, { admitted: 123, rejected: 4, free: 8, used: 0.25, waited: 1.5 }, { units: { used: "ratio", waited: "seconds" }, labels: { team: "tickets", tier: "<b>1</b>" } }),
            otherPolicy("retry", "jira_api", { max_attempts: 3, base_delay: "500ms", jitter: "full" }, { calls: 500, succeeded_at_once: 420, succeeded_after_retry: 60, failed_without_retry: 5, failed_after_retry: 15, failed_attempts: 110, retries: 90, exhausted: 15, budget_exhausted: 2, nested_retries: 0, predicate_errors: 0, total_delay: 41.5, budget_left: 87.5 }),
            otherPolicy("retry", '<b onmouseover="alert(2)">bold</b>', { max_attempts: 2 }, { calls: 3, succeeded_at_once: 3, succeeded_after_retry: 0, failed_without_retry: 0, failed_after_retry: 0, failed_attempts: 0, retries: 0, exhausted: 0, budget_exhausted: 0, nested_retries: 0, predicate_errors: 0, total_delay: 0 }),
            otherPolicy("timeout", "jira_api", { limit: "2s", keep_late: false }, { calls: 590, in_time: 581, timed_out: 9, kept_late: 0, failed: 41 }),
        ];
        this.server = createServer((request, response) => setTimeout(() => this.answer(request, response), /^\/api/.test(request.url) ? this.slowMs : 0));
        this.heartbeat = setInterval(() => { for (const stream of this.streams) stream.write(": still here\n\n"); }, 5000);
    }
    async listen() {
        await new Promise((done, failed) => this.server.once("error", failed).listen(this.port, "127.0.0.1", done));
        this.port = this.server.address().port;
        this.url = `http://127.0.0.1:${this.port}`;
        return this;
    }
    async close() {
        clearInterval(this.heartbeat);
        this.server.closeAllConnections();
        await new Promise((done) => this.server.close(done));
    }
    /// Nothing is heard of it until it listens again.
    async goAway() {
        this.server.closeAllConnections();
        await new Promise((done) => this.server.close(done));
    }

    // ---- What happens in it

    change(name, to, { reason = "failure_threshold", delay = null } = {}) {
        const c = this.circuits.get(name), s = c.statistics, from = s.state;
        const at = new Date().toISOString();
        s.state = to;
        s.state_since = at;
        s.generation += 1;
        c.until = delay === null ? null : Date.now() + delay * 1000;
        if (to === "open") {
            Object.assign(s, { opened_at: at, last_failure_time: at, failure_count: 5, failure_rate: 0.62, last_error_type: "http_error", last_error: this.errorText() });
            if (from === "closed") s.trips += 1;
        }
        if (to === "closed") Object.assign(s, { opened_at: null, failure_count: 0, failure_rate: null });
        this.happened({ kind: "state_changed", policy_kind: "circuit_breaker", policy: name, operation: null, attempt: 0, max_attempts: 0, retry_depth: 0, delay, from, to, failure_count: s.failure_count, success_count: 0, error_type: to === "open" ? "http_error" : null, error: to === "open" ? this.errorText() : null, reason, timestamp: at, generation: s.generation });
    }
    errorText() { return this.showsErrors ? this.error : null; }
    error = "HTTP 503: upstream connect error or disconnect/reset before headers";
    trip(name, seconds = 30) { this.change(name, "open", { delay: seconds }); }
    happened(event) {
        const numbered = { number: this.events.length + 1, ...event };
        this.events.push(numbered);
        for (const stream of this.streams) send(stream, numbered);
    }
    /// A second's calls for every circuit.
    work(share = 1) {
        for (const { statistics: s, busy, failing } of this.circuits.values()) {
            if (s.state === "open" || s.state === "forced_open") {
                s.rejected += Math.round(busy * share * (0.5 + Math.random()));
                continue;
            }
            const calls = Math.round(busy * share * (0.5 + Math.random()));
            const failures = failing ? Math.round(calls * 0.7) : Math.random() < 0.3 ? Math.round(calls * 0.2) : 0;
            s.calls += calls;
            s.failures += failures;
            s.successes += calls - failures;
            s.success_count += calls - failures;
            if (s.state !== "closed") continue;
            if (s.failure_threshold) s.failure_count = failures % s.failure_threshold;
            s.failure_rate = calls ? failures / calls : null;
            if (s.window) Object.assign(s.window, { calls: Math.min(s.window.size, calls), failures: Math.min(s.window.size, failures) });
        }
    }

    // ---- HTTP

    answer(request, response) {
        const url = new URL(request.url, "http://mock");
        this.requests.push(`${request.method} ${request.url}`);
        if (!url.pathname.startsWith(this.folder)) return json(response, 404, problem("not_found", "outside of the folder"));
        const path = url.pathname.slice(this.folder.length);
        if (path === "/dashboard") {
            response.writeHead(200, { "Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": this.policy, "X-Content-Type-Options": "nosniff" });
            return response.end(this.page);
        }
        if (!path.startsWith(root)) return json(response, 404, problem("not_found", "no such resource"));
        const rest = path.slice(root.length);
        if (request.method === "POST") return this.command(rest, url, request, response);
        if (rest === "") return json(response, 200, { version: "0.1.0", control: this.control, events: this.offersEvents, routes: [] });
        if (rest === "/policies") return json(response, 200, [...this.circuits.values()].map(shownCircuit).concat(this.others));
        if (rest === "/health") return json(response, this.healthStatus ?? 200, this.health());
        if (this.offersEvents && rest === "/events") return json(response, 200, this.eventsPage(url));
        if (this.offersEvents && rest === "/events/stream") return this.stream(url, response);
        json(response, 404, problem("not_found", "no such resource"));
    }
    health() {
        const all = [...this.circuits.values()].map((c) => c.statistics.state);
        const open = all.filter((s) => s === "open" || s === "forced_open").length;
        const half = all.filter((s) => s === "half_open").length;
        return {
            status: open * 2 > all.length ? "critical" : open ? "degraded" : "healthy",
            timestamp: new Date().toISOString(), total_circuits: all.length,
            circuits_by_state: { closed: all.length - open - half, open, half_open: half }, open_circuits: [],
        };
    }
    eventsPage(url) {
        const since = Number(url.searchParams.get("since") ?? 0), kind = url.searchParams.get("kind");
        const most = Number(url.searchParams.get("limit") ?? 100);
        const matching = this.events.filter((e) => e.number >= Math.max(since, this.keptFrom) && (!kind || e.kind === kind));
        const events = matching.slice(0, most);
        const next = events.length < matching.length ? events.at(-1).number + 1 : Math.max(since, this.events.length + 1);
        return { events, next, missed: Math.max(0, this.keptFrom - Math.max(since, 1)) };
    }
    stream(url, response) {
        if (this.refuseStreams) return json(response, 503, problem("too_many_streams", "too many streams"));
        response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
        response.write(": hello\n\n");
        for (const event of this.events.filter((e) => e.number >= Number(url.searchParams.get("since") ?? 0))) send(response, event);
        this.streams.add(response);
        response.on("close", () => this.streams.delete(response));
    }
    command(rest, url, request, response) {
        const [, encoded, verb] = /^\/circuit-breakers\/([^/]+)\/([a-z-]+)$/.exec(rest) ?? [];
        if (!this.control || encoded === undefined) return json(response, 404, problem("not_found", "no such resource"));
        if (request.headers["x-resilience-control"] !== "1") return json(response, 403, problem("forbidden", "the header X-Resilience-Control is missing"));
        if (this.token) {
            const given = request.headers.authorization;
            if (!given) return json(response, 401, problem("unauthorized", "a token is needed"));
            if (given === "Bearer reader") return json(response, 403, problem("forbidden", "readers may not command circuits"));
            if (given !== `Bearer ${this.token}`) return json(response, 401, problem("unauthorized", "unknown token"));
        }
        const name = decodeURIComponent(encoded);
        if (!this.circuits.has(name)) return json(response, 404, problem("not_found", "no such circuit"));
        const reason = url.searchParams.get("reason") ?? "by hand";
        const states = { reset: "closed", "force-open": "forced_open", disable: "disabled", "metrics-only": "metrics_only", open: "open", "open-for": "open" };
        const seconds = verb === "open-for" ? Number(url.searchParams.get("duration").replace("s", "")) : null;
        this.change(name, states[verb], { reason, delay: seconds });
        this.circuits.get(name).statistics.reason = reason;
        json(response, 200, shownCircuit(this.circuits.get(name)).statistics);
    }
}

const otherPolicy = (kind, name, config, statistics, more = {}) => ({ kind, name, config, statistics, ...more });
function circuit(name, i) {
    const byRate = i % 3 === 1;
    return {
        kind: "circuit_breaker", name, busy: (i * 7) % 40 + 8, failing: false, until: null,
        config: { failure_threshold: byRate ? 0 : 5, failure_rate_threshold: byRate ? 0.5 : null, slow_call_rate_threshold: byRate ? 0.9 : null, recovery_timeout: "30s", success_threshold: 2, half_open_max_calls: 1 },
        statistics: {
            state: "closed", failure_count: 0, failure_threshold: byRate ? 0 : 5, success_count: 0, success_threshold: 2, generation: 1,
            failure_rate: byRate ? 0.05 : null, slow_call_rate: byRate ? 0.1 : null, calls: 1000 + i, successes: 990 + i, failures: 10, ignored: 0, rejected: 0,
            late_results: 0, slow: 0, trips: 0, predicate_errors: 0, opened_at: null, last_failure_time: null,
            state_since: new Date(Date.now() - 3600e3 * (i % 50) - 65e3).toISOString(), retry_after: null,
            window: byRate ? { calls: 18, failures: 1, slow: 2, size: 20 } : null, reason: null, last_error_type: i % 4 === 0 ? "std::runtime_error" : null, last_error: null,
        },
    };
}
function shownCircuit({ kind, name, config, statistics, until }) {
    const wait = until === null ? null : Math.max(0, (until - Date.now()) / 1000);
    const left = statistics.state === "open" || (statistics.state === "half_open" && wait > 0) ? wait : null;
    return { kind, name, config, statistics: { ...statistics, retry_after: left, due_for_probe: left === 0 }, units: { failure_rate: "ratio", slow_call_rate: "ratio", retry_after: "seconds" } };
}
const send = (stream, event) => stream.write(`id: ${event.number}\nevent: ${event.kind}\ndata: ${JSON.stringify(event)}\n\n`);
const problem = (code, message) => ({ error: { code, message } });
function json(response, status, body) {
    response.writeHead(status, { "Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff" });
    response.end(JSON.stringify(body));
}

/// A service that has been through something, for pictures and for people.
export function livelyService(options) {
    const service = new Service({ circuits: 24, ...options });
    const names = [...service.circuits.keys()];
    for (const name of names.slice(8, 14)) {
        service.trip(name, 12);
        service.change(name, "half_open", { reason: "recovery_timeout" });
        service.change(name, "closed", { reason: "success_threshold" });
    }
    service.change(names[8], "disabled", { reason: "migration until 14:00" });
    service.change(names[9], "metrics_only", { reason: "dry run" });
    service.change(names[10], "forced_open", { reason: "vendor asked for it" });
    service.trip(names[11], 45);
    service.change(names[11], "half_open", { reason: "recovery_timeout" });
    service.trip("jira_api", 28);
    return service;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
    const [header = "build/generated/resilience/dashboard_page.hpp", port = "8088", circuits = "24"] = process.argv.slice(2);
    const service = await livelyService({ ...readHeader(header), port: Number(port), circuits: Number(circuits), token: "secret" }).listen();
    console.log(`${service.url}/dashboard`);
    setInterval(() => service.work(0.25), 250);
    setInterval(() => {
        const { state } = service.circuits.get("confluence_api").statistics;
        if (state === "closed") service.trip("confluence_api", 4);
        else if (state === "open") service.change("confluence_api", "half_open", { reason: "recovery_timeout" });
        else service.change("confluence_api", "closed", { reason: "success_threshold" });
    }, 4000);
}
