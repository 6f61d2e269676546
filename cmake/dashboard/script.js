// SPDX-License-Identifier: Apache-2.0
// The dashboard. Names, errors and reasons may be anything: they become text nodes, never HTML.
"use strict";
{
// The page is served as /dashboard or beside the API, perhaps behind a proxy that puts a folder before both.
const folder = location.pathname.replace(/\/[^/]*$/, "");
const root = "/api/v1/resilience";
const api = folder.endsWith(root) ? folder : folder + root;

const everyMs = 2000; // between polls
const hiddenEveryMs = 15000; // while nobody looks
const longestBackoffMs = 30000;
const samplesKept = 60, secondsShown = 120; // a poll every two seconds
const changesKept = 1000, linesKept = 200;
const flappingMs = 15 * 60000; // a circuit that makes a change again within it flaps: longer than its longest break
const attention = ["open", "forced_open", "half_open", "metrics_only", "disabled", "closed"]; // worst first
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

// ---- Elements and texts

const $ = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
}
/// Writes only what differs: hundreds of rows are shown anew every two seconds.
function setText(node, text) {
    if (node.shownText !== text) node.textContent = node.shownText = text;
}
/// The same for names and errors, whose lines may end between their words and nowhere else.
function setName(node, text) {
    if (node.shownText === text) return;
    node.shownText = text;
    node.replaceChildren(...wordsOf(text));
}
/// Where a text has no blank for long, its line may end between the words of an identifier, an address, a path:
/// resilience:: circuit_ open_ error, https:// host/ path. Short ones stay whole.
function wordsOf(text) {
    return String(text).split(/(\S{17,})/).flatMap((part, i) =>
        i % 2 === 0 ? [part] : part.match(/[^_:.\/,;&?=-]*[_:.\/,;&?=-]*/g).flatMap((word, j) => (j === 0 ? [word] : [make("wbr"), word])));
}
function setAttribute(node, name, value) {
    if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}
function icon(state) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    use.setAttribute("href", "#icon-" + known(state));
    svg.setAttribute("aria-hidden", "true");
    svg.append(use);
    return svg;
}
const known = (state) => (attention.includes(state) ? state : "unknown");
function badge(state) {
    return make("span", { class: "state " + known(state) }, icon(state), make("span", {}, words(state)));
}
const words = (key) => String(key).replaceAll("_", " ");
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const percent = (share) => number.format(Math.round(share * 1000) / 10) + " %";

const two = (n) => String(n).padStart(2, "0");
const date = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
const clock = (at) => `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
const moment = (at) => (at.toDateString() === new Date().toDateString() ? clock(at) : date(at));
const dateAndClock = (at) => `${date(at)} ${clock(at)}`; // here, not in UTC

/// 3.2 s, 12 s, 4 min 5 s, 2 h 3 min, 3 d 1 h
function span(seconds, tenths = false) {
    if (seconds < 10 && tenths) return (Math.ceil(seconds * 10) / 10).toFixed(1) + " s";
    const whole = tenths ? Math.ceil(seconds) : Math.max(0, Math.floor(seconds));
    if (whole < 60) return whole + " s";
    const [large, largeUnit, small, smallUnit] =
        whole < 3600 ? [60, "min", 1, "s"] : whole < 86400 ? [3600, "h", 60, "min"] : [86400, "d", 3600, "h"];
    const rest = Math.floor((whole % large) / small);
    return `${Math.floor(whole / large)} ${largeUnit}` + (rest ? ` ${rest} ${smallUnit}` : "");
}
/// A member of statistics or config for people; the API says which are shares and which are seconds.
function readable(key, value, unit) {
    if (value === null || value === undefined || value === "") return "\u2013";
    if (typeof value === "boolean") return value ? "yes" : "no";
    if (typeof value === "number") {
        if (unit === "ratio") return percent(value);
        return number.format(value) + (unit === "seconds" ? " s" : unit ? " " + words(unit) : "");
    }
    if (typeof value === "object") return JSON.stringify(value);
    if (/^\d{4}-\d\d-\d\dT.*Z$/.test(value)) return dateAndClock(new Date(value));
    return key === "state" ? words(value) : String(value);
}

// ---- What is known of the service

let answered = false; // whether it ever did
let service = null; // its root resource; null until it answered, and again once it stopped to
let clockSkewMs = 0; // the service's clock minus ours
let token = ""; // for commands; nowhere but here
const circuits = new Map(); // name -> what circuitOf makes
const others = new Map(); // kind -> {table, columns, rows}
let changes = []; // of state, newest first
let lines = []; // what the timeline tells of them, newest first; several of one circuit that flaps are one
let nextEvent = 0; // the number to ask for
let sawRestart = false;

const serviceNow = () => Date.now() + clockSkewMs;

// ---- Circuits

const rowsInView = new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen) {
        target.circuit.inView = isIntersecting;
        if (isIntersecting) drawTraffic(target.circuit);
    }
}, { rootMargin: "200px" });

function circuitOf(name) {
    const body = $("circuit-row").content.cloneNode(true).firstElementChild;
    const [row, more] = body.rows;
    const all = (selector) => Object.fromEntries([...row.querySelectorAll(`[${selector}]`)].map((n) => [n.getAttribute(selector), n]));
    const c = {
        name, body, more,
        button: row.querySelector("button"),
        badge: row.querySelector(".state"),
        cells: all("data-cell"),
        bars: all("data-bar"),
        spark: row.querySelector(".spark"),
        samples: [],
        inView: false,
        expanded: null,
    };
    body.circuit = c;
    setName(c.button, name || "(no name)");
    c.button.addEventListener("click", () => expand(c, c.button, more, true));
    rowsInView.observe(body);
    return c;
}

function showCircuit(c, policy, nowMs) {
    const s = policy.statistics;
    const before = c.policy?.statistics;
    c.policy = policy;
    c.state = s.state;
    if (!before || before.state !== s.state) {
        c.badge.querySelector("use").setAttribute("href", "#icon-" + known(s.state));
        setText(c.badge.lastElementChild, words(s.state));
        if (before) flash(c.body.rows[0]);
    }
    c.changed = Date.parse(s.state_since) || 0;
    setText(c.cells.since, c.changed ? "for " + span((serviceNow() - c.changed) / 1000) : "");

    const config = policy.config ?? {};
    if (s.failure_threshold > 0) {
        setText(c.cells.failures, `${number.format(s.failure_count)} / ${number.format(s.failure_threshold)}`);
        setBar(c.bars.failures, s.failure_count / s.failure_threshold, 1);
    } else {
        setText(c.cells.failures, s.window ? `${number.format(s.window.failures)} of ${number.format(s.window.calls)}` : number.format(s.failure_count ?? 0));
        setBar(c.bars.failures, null);
    }
    for (const [rate, threshold] of [["failure_rate", "failure_rate_threshold"], ["slow_call_rate", "slow_call_rate_threshold"]]) {
        const limit = typeof config[threshold] === "number" ? config[threshold] : null;
        const measured = typeof s[rate] === "number";
        setText(c.cells[rate], (measured ? percent(s[rate]) : "\u2013") + (measured && limit !== null ? " / " + percent(limit) : ""));
        setBar(c.bars[rate], measured ? s[rate] : null, limit ?? 1);
    }
    setName(c.cells.error, s.last_error_type ?? "\u2013");
    setName(c.cells.error_text, s.last_error ?? ""); // where the service shows it
    setAttribute(c.cells.error_text, "title", s.last_error ?? "");
    const waits = (s.state === "open" || s.state === "half_open") && typeof s.retry_after === "number";
    c.probeAtMs = waits ? nowMs + s.retry_after * 1000 : null;
    showProbe(c, nowMs);
    takeSample(c, s, nowMs);
    if (c.inView) drawTraffic(c);
    if (c.expanded) c.expanded.update(policy);
}

/// A bar of value from 0 to 1, coloured once it reaches the limit; none for null.
function setBar(bar, value, limit) {
    bar.parentNode.classList.toggle("unused", value === null);
    setAttribute(bar, "width", String(Math.round(100 * Math.min(1, value ?? 0))));
    bar.classList.toggle("high", value !== null && value >= limit);
}

/// An open circuit whose break is over waits for a call: it no longer refuses them. A half-open one may be held back by a
/// server's hint.
function showProbe(c, nowMs) {
    const left = c.probeAtMs === null ? 0 : (c.probeAtMs - nowMs) / 1000;
    const isDue = c.state === "open" && c.probeAtMs !== null && left <= 0;
    setAttribute(c.badge, "class", `state ${known(c.state)}${isDue ? " due" : ""}`);
    if (c.probeAtMs === null || (c.state === "half_open" && left <= 0)) setText(c.cells.probe, c.state === "half_open" ? "probing" : c.state === "forced_open" ? "none: by hand" : "\u2013");
    else setText(c.cells.probe, isDue ? "due for a probe" : span(left, !reducedMotion.matches));
}

/// Totals only grow: what was added since the last look is a sample. Looks that follow closely share one.
function takeSample(c, s, nowMs) {
    const totals = [s.successes ?? 0, s.failures ?? 0, s.rejected ?? 0];
    if (c.totals) {
        const added = totals.map((total, i) => total - c.totals[i]);
        if (added.some((n) => n < 0)) {
            sawRestart = true;
            c.samples = [];
        } else {
            const seconds = (nowMs - c.sampledMs) / 1000;
            const last = c.samples.at(-1);
            if (last && last.seconds < 1.5) {
                last.counts = last.counts.map((n, i) => n + added[i]);
                last.seconds += seconds;
            } else {
                c.samples.push({ counts: added, seconds });
                // Where polls are far apart, as in the background, two minutes are fewer samples.
                let span = c.samples.reduce((sum, sample) => sum + sample.seconds, 0);
                while (c.samples.length > samplesKept || (c.samples.length > 1 && span > secondsShown)) span -= c.samples.shift().seconds;
            }
        }
    }
    c.totals = totals;
    c.sampledMs = nowMs;
    const recent = c.samples.slice(-5);
    const seconds = recent.reduce((sum, sample) => sum + sample.seconds, 0);
    c.perSecond = seconds ? recent.reduce((sum, sample) => sum + sample.counts[0] + sample.counts[1] + sample.counts[2], 0) / seconds : 0;
}

/// Successes grow up from the axis, failures and (thinner, below them) rejections down.
function drawTraffic(c) {
    const axis = 18, below = 13, perSecond = 120 / secondsShown;
    const rates = c.samples.map((sample) => sample.counts.map((n) => n / Math.max(sample.seconds, 0.1)));
    const most = rates.reduce((m, [ok, failed, rejected]) => Math.max(m, ok / axis, (failed + rejected) / below), 0);
    const paths = ["", "", ""];
    let x = Math.max(0, 120 - perSecond * c.samples.reduce((sum, sample) => sum + sample.seconds, 0));
    rates.forEach(([ok, failed, rejected], i) => {
        const step = Math.round(perSecond * c.samples[i].seconds * 10) / 10;
        const high = (rate) => (rate > 0 ? Math.max(1, Math.round(rate / most)) : 0);
        const up = high(ok), down = high(failed), further = high(rejected);
        if (up) paths[0] += `M${x} ${axis}v${-up}h${step}v${up}z`;
        if (down) paths[1] += `M${x} ${axis + 1}v${down}h${step}v${-down}z`;
        if (further) paths[2] += `M${x} ${axis + 1 + down}v${further}h${step / 2}v${-further}z`;
        x = Math.round((x + step) * 10) / 10;
    });
    const [, ...lines] = c.spark.children;
    lines.forEach((line, i) => setAttribute(line, "d", paths[i]));
    const sums = [0, 1, 2].map((i) => number.format(c.samples.reduce((sum, sample) => sum + sample.counts[i], 0)));
    setAttribute(c.spark, "aria-label", c.samples.length ? `${sums[0]} succeeded, ${sums[1]} failed, ${sums[2]} rejected` : "no samples yet");
    setText(c.cells.traffic, c.samples.length ? number.format(Math.round(c.perSecond * 10) / 10) + "/s" : "");
}

function flash(node) {
    node.classList.remove("fresh");
    requestAnimationFrame(() => node.classList.add("fresh"));
}

// ---- What unfolds below a row: everything that is known of a policy

function expand(keeper, button, more, isCircuit) {
    const opening = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", String(opening));
    more.hidden = !opening;
    const cell = more.firstElementChild;
    if (opening) {
        keeper.expanded = detailsOf(keeper.policy, isCircuit);
        cell.replaceChildren(keeper.expanded.node);
    } else {
        keeper.expanded = null;
        cell.replaceChildren();
    }
}
function detailsOf(policy, isCircuit) {
    const statistics = listOf("Statistics"), config = listOf("Config"), labels = listOf("Labels");
    const node = make("div", {}, make("div", { class: "lists" }, statistics.node, config.node, labels.node));
    if (isCircuit && service?.control) {
        const group = make("div", { class: "control", role: "group", "aria-label": "Commands for " + policy.name });
        for (const action of actions) {
            const button = make("button", { type: "button" }, action.word + "\u2026");
            button.addEventListener("click", () => confirmFirst(action, policy.name));
            group.append(button);
        }
        node.append(group);
    }
    const update = (now) => {
        statistics.update(now.statistics ?? {}, now.units);
        config.update(now.config ?? {}, now.units);
        labels.update(now.labels ?? {});
    };
    update(policy);
    return { node, update };
}
function listOf(title) {
    const list = make("dl");
    const node = make("div", {}, make("h3", {}, title), list);
    const shown = new Map();
    const update = (values, units = {}) => {
        const flat = Object.entries(values).flatMap(([key, value]) =>
            value !== null && typeof value === "object" ? Object.entries(value).map(([inner, v]) => [key + "_" + inner, v]) : [[key, value]]);
        if (flat.length !== shown.size || flat.some(([key]) => !shown.has(key))) {
            shown.clear();
            list.replaceChildren(...flat.map(([key]) => {
                const value = make("dd");
                shown.set(key, value);
                return make("div", {}, make("dt", {}, words(key)), value);
            }));
        }
        for (const [key, value] of flat) setName(shown.get(key), readable(key, value, units[key]));
        node.hidden = flat.length === 0;
    };
    return { node, update };
}

// ---- Choosing and ordering

let chosenState = "";
const stateButtons = new Map();
function makeStateButtons() {
    for (const state of ["", ...attention]) {
        const count = make("span");
        const button = make("button", { type: "button", "aria-pressed": String(state === "") });
        if (state) button.append(icon(state));
        button.append(make("span", {}, state ? words(state) : "all"), count);
        button.addEventListener("click", () => {
            chosenState = state;
            for (const [of, { button: other }] of stateButtons) other.setAttribute("aria-pressed", String(of === state));
            choose();
        });
        stateButtons.set(state, { button, count });
        $("states").append(button);
    }
}
function countStates() {
    const counts = new Map([["", circuits.size]]);
    for (const c of circuits.values()) counts.set(c.state, (counts.get(c.state) ?? 0) + 1);
    for (const [state, { button, count }] of stateButtons) {
        const n = counts.get(state) ?? 0;
        setText(count, String(n));
        // The rare ones show once there are any; never is the chosen one taken away.
        button.hidden = n === 0 && state !== chosenState && !["", "open", "half_open", "closed"].includes(state);
    }
    const bad = (counts.get("open") ?? 0) + (counts.get("forced_open") ?? 0);
    document.title = bad ? `(${bad} open) resilience` : "resilience";
}

const byName = (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
const descending = (value) => (a, b) => value(b) - value(a) || byName(a, b);
const rank = (c) => (attention.includes(c.state) ? attention.indexOf(c.state) : attention.length);
const orders = {
    attention: (a, b) => rank(a) - rank(b) || byName(a, b),
    name: byName,
    failure_rate: descending((c) => c.policy.statistics.failure_rate ?? -1),
    slow_call_rate: descending((c) => c.policy.statistics.slow_call_rate ?? -1),
    traffic: descending((c) => c.perSecond),
    changed: descending((c) => c.changed),
};
/// Moves only the rows that are out of place, and gives the focus back to one that had it.
function arrange() {
    const table = $("circuit-table");
    const focused = document.activeElement;
    let at = table.tBodies[0] ?? null;
    for (const { body } of [...circuits.values()].sort(orders[$("sort").value])) {
        if (body !== at && at?.nextElementSibling === body) { // the one before it has gone down
            const gone = at;
            at = body;
            table.append(gone);
        }
        if (body === at) at = at.nextElementSibling;
        else table.insertBefore(body, at);
    }
    if (focused !== document.activeElement && table.contains(focused)) focused.focus({ preventScroll: true });
}
function choose() {
    const wanted = $("filter").value.toLowerCase();
    let shown = 0;
    for (const c of circuits.values()) {
        const fits = c.name.toLowerCase().includes(wanted) && (!chosenState || c.state === chosenState);
        c.body.hidden = !fits;
        shown += fits;
    }
    for (const { rows } of others.values())
        for (const row of rows.values()) row.body.hidden = !row.policy.name.toLowerCase().includes(wanted);
    for (const line of $("timeline").children) line.hidden = !line.circuitName.toLowerCase().includes(wanted);
    setText($("shown"), circuits.size === 0 ? "" : shown === circuits.size ? String(shown) : `${shown} of ${circuits.size}`);
    $("no-circuits").hidden = shown > 0;
    setText($("no-circuits"), circuits.size ? "None fits what you chose." : noneYet());
    $("circuit-table").hidden = shown === 0;
}

// ---- The other policies: a table for each kind, known to us or not

const mostColumns = 10; // the first statistics, in the order in which the policy describes them

function showOthers(policies) {
    const present = new Set();
    for (const policy of policies) {
        let kind = others.get(policy.kind);
        // Of its policies some may leave a statistic out.
        const columns = [...new Set([...(kind?.columns ?? []), ...Object.keys(policy.statistics ?? {})])].slice(0, mostColumns);
        if (!kind || columns.length > kind.columns.length) {
            kind?.node.remove();
            kind = tableOf(policy.kind, columns);
            others.set(policy.kind, kind);
        }
        let row = kind.rows.get(policy.name);
        if (!row) kind.rows.set(policy.name, (row = policyRow(kind, policy.name)));
        row.policy = policy;
        kind.columns.forEach((column, i) => setText(row.cells[i], readable(column, policy.statistics?.[column], policy.units?.[column])));
        row.expanded?.update(policy);
        present.add(row);
    }
    for (const [name, kind] of others) {
        for (const [policy, row] of kind.rows)
            if (!present.has(row)) {
                row.body.remove();
                kind.rows.delete(policy);
            }
        if (kind.rows.size === 0) {
            kind.node.remove();
            others.delete(name);
        }
    }
    $("no-policies").hidden = others.size > 0;
    setText($("no-policies"), noneYet());
}
function tableOf(name, columns) {
    const title = words(name);
    const head = make("tr", {}, make("th", { scope: "col" }, "Name"), ...columns.map((column) => make("th", { scope: "col", class: "number" }, words(column))));
    const table = make("table", { "aria-label": title }, make("thead", {}, head));
    // It scrolls sideways on its own where it is too wide, by keyboard too.
    const node = make("div", {}, make("h3", {}, title), make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title }, table));
    const before = [...$("policy-tables").children].find((child) => child.title_ > title) ?? null;
    node.title_ = title;
    $("policy-tables").insertBefore(node, before);
    return { node, table, columns, rows: new Map() };
}
function policyRow(kind, name) {
    const button = make("button", { type: "button", class: "name", "aria-expanded": "false" }, ...wordsOf(name || "(no name)"));
    const cells = kind.columns.map(() => make("td", { class: "number" }));
    const more = make("tr", { class: "more", hidden: "" }, make("td", { colspan: String(cells.length + 1) }));
    const body = make("tbody", {}, make("tr", {}, make("th", { scope: "row" }, button), ...cells), more);
    const row = { body, cells, expanded: null };
    button.addEventListener("click", () => expand(row, button, more, false));
    kind.table.append(body);
    return row;
}

// ---- Changes of state

/// Newest first, from events of the service or, where it keeps none, from what two looks tell apart.
function addChanges(events) {
    const list = $("timeline");
    for (const e of events) {
        changes.unshift(e);
        const line = lineOf(e);
        lines.unshift(line);
        list.prepend(line.node);
    }
    changes.length = Math.min(changes.length, changesKept);
    while (lines.length > linesKept) lines.pop().node.remove();
    list.hidden = lines.length === 0;
    $("changes-note").hidden = lines.length > 0 && service?.events !== false;
    setText($("changes-note"), service?.events === false ? "Since this page was opened: the service keeps no events." : noneYet());
}
function forgetChanges() {
    changes = [];
    lines = [];
    $("timeline").replaceChildren();
}
/// Takes away the lines of a circuit since it last made this change, if that is not long ago, and returns what they
/// told. The line of a circuit that flaps tells all of them.
function takeFlapping(e) {
    const at = Date.parse(e.timestamp);
    const itself = lines.filter((line) => line.circuit === e.policy); // newest first
    const same = itself.findIndex((line) => line.made.has(`${e.from} ${e.to}`));
    if (same < 0 || at - itself[same].untilMs > flappingMs) return { count: 0, openings: 0, made: new Set(), sinceMs: at };
    const taken = itself.slice(0, same + 1);
    for (const line of taken) line.node.remove();
    lines = lines.filter((line) => !taken.includes(line));
    return {
        count: taken.reduce((sum, line) => sum + line.count, 0),
        openings: taken.reduce((sum, line) => sum + line.openings, 0),
        made: new Set(taken.flatMap((line) => [...line.made])),
        sinceMs: taken.at(-1).sinceMs,
    };
}
function lineOf(e) {
    const before = takeFlapping(e);
    const at = new Date(e.timestamp);
    const line = {
        circuit: e.policy,
        count: before.count + 1,
        openings: before.openings + (e.to === "open"),
        made: before.made.add(`${e.from} ${e.to}`),
        sinceMs: before.sinceMs,
        untilMs: at.getTime(),
    };
    const time = make("time", { datetime: e.timestamp, title: dateAndClock(at) }, moment(at));
    const why = [e.reason && words(e.reason), e.to === "open" && e.failure_count ? `${e.failure_count} failures` : null, e.error_type].filter(Boolean).join(" \u00b7 ");
    const arrow = make("span", { "aria-hidden": "true" }, "\u2192");
    const what = make("span", { class: "what" }, make("span", {}, words(e.from ?? "?")), arrow, make("span", { class: "unseen" }, "to"), badge(e.to ?? "?"));
    if (line.count > 1) what.append(make("span", { class: "often" }, `${line.count} changes since ${moment(new Date(line.sinceMs))}` + (line.openings > 1 ? `, opened ${line.openings} times` : "")));
    line.node = make("li", {}, time, make("span", { class: "name" }, ...wordsOf(e.policy || "(no name)")), what);
    if (why) line.node.append(make("span", { class: "why" }, ...wordsOf(why)));
    if (e.error) line.node.append(make("span", { class: "why clip", title: e.error }, ...wordsOf(e.error))); // where the service shows it
    if (e.correlation) line.node.append(make("span", { class: "why clip", title: e.correlation }, ...wordsOf(`by call ${e.correlation}`)));
    line.node.circuitName = e.policy ?? "";
    line.node.hidden = !line.node.circuitName.toLowerCase().includes($("filter").value.toLowerCase());
    return line;
}
function takeEvents(events) {
    const fresh = events.filter((e) => e.number >= nextEvent);
    if (fresh.length) nextEvent = fresh.at(-1).number + 1;
    addChanges(fresh.filter((e) => e.kind === "state_changed"));
}
/// From the beginning where the service may have been started anew, whose numbers begin again.
async function readEvents(fromStart) {
    const found = [];
    let next = fromStart ? 0 : nextEvent;
    for (let pages = 0; pages < 50; ++pages) {
        const page = await get(`/events?kind=state_changed&since=${next}`);
        next = page.next;
        found.push(...page.events);
        if (page.events.length === 0) break;
    }
    if (fromStart) {
        const heardMeanwhile = stream ? changes.filter((e) => e.number >= next).reverse() : [];
        found.push(...heardMeanwhile);
        forgetChanges();
        nextEvent = 0;
    }
    takeEvents(found.slice(-changesKept));
    nextEvent = Math.max(nextEvent, next);
}

/// Says changes of state once they have settled for a moment, in one sentence however many they are.
const unsaid = new Map();
let sayingTimer = 0, saidAtMs = -Infinity;
function say(name, state) {
    unsaid.set(name, state);
    const waitMs = Math.max(700, saidAtMs + 5000 - performance.now());
    sayingTimer ||= setTimeout(() => {
        sayingTimer = 0;
        saidAtMs = performance.now();
        const all = [...unsaid];
        unsaid.clear();
        const open = all.filter(([, now]) => now === "open").length;
        $("announced").textContent = all.length <= 3
            ? all.map(([circuit, now]) => `${circuit} is ${words(now)}`).join(", ")
            : `${all.length} circuits changed their state, ${open} of them are open`;
    }, waitMs);
}

// ---- Showing an answer

function show(policies, health) {
    const nowMs = performance.now();
    answered = true;
    clockSkewMs = (Date.parse(health.timestamp) || Date.now()) - Date.now();
    $("health").className = "health " + (["healthy", "degraded", "critical"].includes(health.status) ? health.status : "");
    setText($("health-word"), words(health.status));

    const present = new Set();
    let reorder = $("sort").value !== "attention" && $("sort").value !== "name";
    const first = circuits.size === 0;
    const seenChanges = [];
    for (const policy of policies) {
        if (policy.kind !== "circuit_breaker") continue;
        let c = circuits.get(policy.name);
        if (!c) {
            circuits.set(policy.name, (c = circuitOf(policy.name)));
            reorder = true;
        }
        const from = c.state;
        showCircuit(c, policy, nowMs);
        present.add(policy.name);
        if (from && from !== c.state) {
            reorder = true;
            say(c.name, c.state);
            const s = policy.statistics;
            seenChanges.push({ timestamp: s.state_since ?? health.timestamp, policy: c.name, from, to: c.state, reason: s.reason, failure_count: s.failure_count, error_type: s.last_error_type });
        }
    }
    for (const [name, c] of circuits)
        if (!present.has(name)) {
            rowsInView.unobserve(c.body);
            c.body.remove();
            circuits.delete(name);
        }
    showOthers(policies.filter((policy) => policy.kind !== "circuit_breaker"));
    if (service.events === false && !first) addChanges(seenChanges);
    countStates();
    if (reorder) arrange();
    choose();
}

// ---- Talking with the service

async function get(path) {
    const response = await fetch(api + path, { cache: "no-store", signal: AbortSignal.timeout(8000) });
    if (!response.ok) throw new Error(await complaint(response));
    return response.json();
}
/// An answer whatever its status: a service may tell load balancers by 503 that most circuits are open.
async function getHealth() {
    const response = await fetch(api + "/health", { cache: "no-store", signal: AbortSignal.timeout(8000) });
    const health = await response.json();
    if (typeof health.status !== "string") throw new Error("that is not the health of a service");
    return health;
}
async function complaint(response) {
    try {
        return (await response.json()).error.message;
    } catch {
        return `the service answered ${response.status}`;
    }
}

let polling = false, pollAgain = false, pollTimer = 0, soonTimer = 0, polledAtMs = 0;
let nextPollMs = everyMs;
let losses = 0; // polls that failed in a row
let stream = null, streamIsOpen = false, streamLosses = 0, streamAfterMs = 0;
let eventsUnsure = true; // whether all of them must be read again

async function poll() {
    if (polling) {
        pollAgain = true;
        return;
    }
    polling = true;
    pollAgain = false;
    polledAtMs = performance.now();
    clearTimeout(pollTimer);
    try {
        const answers = await ask();
        losses = answers ? 0 : losses + 1;
        if (answers) {
            show(...answers);
            await followEvents();
        }
    } finally { // also where an answer could not be shown: the next one may
        const backoffMs = Math.min(longestBackoffMs, 1000 * 2 ** (losses - 1)) * (0.8 + 0.4 * Math.random());
        nextPollMs = losses ? backoffMs : document.hidden ? hiddenEveryMs : everyMs;
        showConnection();
        polling = false;
        pollTimer = setTimeout(poll, pollAgain ? 0 : nextPollMs);
    }
}
/// [policies, health], or null if the service does not answer.
async function ask() {
    try {
        service ??= await get("");
        // One after the other: they then share a connection, which may cost the service a thread.
        return [await get("/policies"), await getHealth()];
    } catch {
        service = null; // it may come back another
        closeStream();
        return null;
    }
}

/// A poll for a change that was heard of; a burst of them makes one.
function pollSoon() {
    if (document.hidden || soonTimer) return;
    const waitMs = Math.max(100, polledAtMs + 500 - performance.now());
    soonTimer = setTimeout(() => {
        soonTimer = 0;
        poll();
    }, waitMs);
}

async function followEvents() {
    if (!service.events) {
        addChanges([]); // says so
        return;
    }
    if (sawRestart) {
        sawRestart = false;
        closeStream();
    }
    if (document.hidden && stream) closeStream(); // one that somebody looks at may need its place
    if (stream && !eventsUnsure) return;
    try {
        await readEvents(eventsUnsure);
        eventsUnsure = false;
        if (!stream && !document.hidden && performance.now() >= streamAfterMs) openStream();
    } catch {
        eventsUnsure = true; // the next poll says whether the service is there
    }
}
function openStream() {
    const opened = (stream = new EventSource(`${api}/events/stream?kind=state_changed&since=${nextEvent}`));
    opened.onopen = () => {
        streamIsOpen = true;
        streamLosses = 0;
        showConnection();
    };
    opened.addEventListener("state_changed", (message) => {
        takeEvents([JSON.parse(message.data)]);
        pollSoon();
    });
    opened.addEventListener("missed", () => {
        eventsUnsure = true;
        pollSoon();
    });
    // It does not say why: refused (too many streams) or broken. Polls go on meanwhile.
    opened.onerror = () => {
        if (opened !== stream) return;
        streamLosses += 1;
        streamAfterMs = performance.now() + Math.min(longestBackoffMs, 1000 * 2 ** streamLosses);
        closeStream();
        showConnection();
        pollSoon();
    };
}
function closeStream() {
    stream?.close();
    stream = null;
    streamIsOpen = false;
    eventsUnsure = true;
}

/// What stands in the place of a list that is empty.
function noneYet() {
    return answered ? "None yet." : losses ? "The service does not answer." : "Connecting...";
}
function showConnection() {
    if (!answered) for (const id of ["no-circuits", "changes-note", "no-policies"]) setText($(id), noneYet());
    const [kind, text] = losses
        ? ["lost", circuits.size ? `Disconnected: the figures are old. Trying again${nextPollMs > 4000 ? " in " + span(nextPollMs / 1000) : ""}.` : "The service does not answer."]
        : !service ? ["", "Connecting..."]
        : streamIsOpen ? ["live", "Live"]
        : ["polling", `Polling every ${everyMs / 1000} s`];
    const node = $("connection");
    setAttribute(node, "class", "connection " + kind);
    setText(node, text);
    document.body.classList.toggle("lost-data", losses > 0);
    setText($("version"), service?.version ?? $("version").textContent);
}

// ---- Commands

const actions = [
    { verb: "reset", word: "Reset", means: "The circuit closes; its window and counts begin anew." },
    { verb: "force-open", word: "Force open", means: "All calls are rejected until another command." },
    { verb: "open", word: "Open", means: "All calls are rejected for the recovery time, as after a trip; then probes." },
    { verb: "open-for", word: "Open for a while", means: "All calls are rejected for that long; then probes as after a trip.", timed: true },
    { verb: "disable", word: "Disable", means: "All calls pass and nothing trips, until another command." },
    { verb: "metrics-only", word: "Metrics only", means: "All calls pass and are judged; events say where it would have tripped." },
];
let asked = null; // {action, name} of the dialog that is open

function confirmFirst(action, name) {
    asked = { action, name };
    $("command-word").textContent = action.word;
    $("command-circuit").textContent = name;
    $("command-means").textContent = action.means;
    $("command-duration").hidden = !action.timed;
    $("amount").disabled = !action.timed; // what is hidden must not be found invalid
    $("confirm").textContent = action.word;
    $("confirm").disabled = false;
    $("reason").value = "";
    $("command-error").hidden = true;
    $("command").showModal();
    $(action.timed ? "amount" : "reason").focus();
}
function refuse(text) {
    $("command-error").textContent = text;
    $("command-error").hidden = false;
}
async function command(event) {
    event.preventDefault();
    const now = asked;
    const query = new URLSearchParams();
    if (now.action.timed) query.set("duration", `${Number($("amount").value) * Number($("unit").value)}s`);
    if ($("reason").value) query.set("reason", $("reason").value);
    if (!$("token-field").hidden) token = $("token").value.trim();
    const headers = { "X-Resilience-Control": "1" };
    if (token) headers.Authorization = "Bearer " + token;

    $("confirm").disabled = true;
    $("command-error").hidden = true;
    try {
        // A space is %20 to every server, a plus is not.
        const target = `${api}/circuit-breakers/${encodeURIComponent(now.name)}/${now.action.verb}`;
        const encoded = query.toString().replaceAll("+", "%20");
        const response = await fetch(encoded ? `${target}?${encoded}` : target, { method: "POST", headers, signal: AbortSignal.timeout(8000) });
        if (response.ok) {
            $("token-field").hidden = true;
            $("token").value = "";
            if (asked === now) $("command").close();
            $("announced").textContent = `${now.action.word}: ${now.name}: done`;
            poll();
        } else if (response.status === 401) {
            refuse(token ? "The service did not accept this token." : "The service asks for a token.");
            token = "";
            $("token-field").hidden = false;
            $("token").focus();
        } else {
            refuse((response.status === 403 ? "Not allowed: " : "Refused: ") + (await complaint(response)));
        }
    } catch (error) {
        refuse(error instanceof TypeError && headers.Authorization && /header|ISO/i.test(error.message) ? "A token holds other characters." : "The service did not answer; whether it did it is not known.");
    } finally {
        $("confirm").disabled = false;
    }
}

// ---- Begin

makeStateButtons();
showConnection();
$("choice").addEventListener("submit", (event) => event.preventDefault());
$("filter").addEventListener("input", choose);
$("sort").addEventListener("change", arrange);
$("command-form").addEventListener("submit", command);
$("cancel").addEventListener("click", () => $("command").close());
document.addEventListener("visibilitychange", poll);
addEventListener("online", poll);
const tickMs = reducedMotion.matches ? 1000 : 100;
setInterval(() => {
    if (document.hidden) return;
    const nowMs = performance.now();
    for (const c of circuits.values()) if (c.inView && c.probeAtMs !== null) showProbe(c, nowMs);
}, tickMs);
poll();
}
