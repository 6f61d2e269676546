// SPDX-License-Identifier: Apache-2.0
#include <resilience/alert_sink.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/retry.hpp>

#include "support/catch.hpp"
#include "support/world.hpp"

#include <sys/wait.h>
#include <unistd.h>
#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace rs = resilience;
using namespace std::chrono_literals;
using support::world;

namespace {

rs::event circuit(std::string name, rs::circuit_state from, rs::circuit_state to, std::string error = {}) {
    rs::event e{
        .kind = rs::event_kind::state_changed, .policy_kind = "circuit_breaker", .policy = std::move(name)};
    e.from = from;
    e.to = to;
    e.error = std::move(error);
    return e;
}
rs::event opened(std::string name, std::string error = {}) {
    return circuit(std::move(name), rs::circuit_state::closed, rs::circuit_state::open, std::move(error));
}

/// A sink that sends when it is told to, into a vector.
struct by_hand : world {
    explicit by_hand(rs::alert_config config = {}) {
        config.delivery = rs::alert_delivery::by_hand;
        sink.emplace(reg, std::move(config), [this](const rs::alert& a) {
            if (on_send) on_send(a);
            sent.push_back(a);
        });
    }
    void publish(const rs::event& e) const { reg.env()->publish(e); }
    /// The policies of which something was sent since the last time.
    std::vector<std::string> names() {
        std::vector<std::string> all;
        sink->deliver_due();
        for (const auto& a : std::exchange(sent, {})) all.push_back(a.what.policy);
        return all;
    }

    std::vector<rs::alert> sent;
    std::function<void(const rs::alert&)> on_send;
    std::optional<rs::alert_sink> sink;
};
using names = std::vector<std::string>;

TEST_CASE("an alert shows a call's first failure, redacted and clipped as the last",
          "[alert_sink][H-USE-15]") {
    rs::event e{.kind = rs::event_kind::retries_exhausted, .policy_kind = "retry", .policy = "r"};
    e.attempt = 3;
    e.error = "25P02";
    e.first_error = "40001\ntoken=abc";
    const auto message = [&](rs::alert_config c) {
        by_hand t(std::move(c));
        t.publish(e);
        t.sink->deliver_due();
        REQUIRE(t.sent.size() == 1);
        return rs::alert_message(t.sent[0]);
    };

    CHECK(message({}) == R"(All 3 attempts failed in retry 'r': 25P02 (first: 40001\ntoken=abc))");
    CHECK(message({.redact = [](std::string_view text) { return std::string(text.substr(0, 5)); }}) ==
          "All 3 attempts failed in retry 'r': 25P02 (first: 40001)");
    CHECK(message({.longest_text = 2}) == "All 3 attempts failed in retry 'r': 25 (first: 40)");
    CHECK(message({.redact = [](std::string_view) -> std::string { throw 1; }}).find("40001") ==
          std::string::npos);
}

} // namespace

TEST_CASE("the trip and the recovery of a circuit are alerts, what happens between is not", "[alert_sink]") {
    by_hand t;
    const rs::circuit_breaker breaker(
        {.name = "jira_api", .failure_threshold = 1, .success_threshold = 1, .recovery_timeout = 30s}, t.reg);
    const auto fail = [] { throw std::runtime_error("HTTP 503"); };

    (void)breaker.try_call(fail);
    (void)breaker.try_call(fail); // rejected
    t.clock.advance(30s);
    (void)breaker.try_call(fail); // half-opens and opens again
    t.clock.advance(30s);
    (void)breaker.try_call([] {});
    t.sink->deliver_due();

    REQUIRE(t.sent.size() == 2);
    CHECK(t.sent[0].what.to == rs::circuit_state::open);
    CHECK(t.sent[0].what.error == "HTTP 503");
    CHECK(t.sent[0].level == rs::alert_level::error);
    CHECK(rs::alert_title(t.sent[0].what) == "Circuit 'jira_api' opened");
    CHECK(t.sent[1].level == rs::alert_level::info);
    CHECK(rs::alert_title(t.sent[1].what) == "Circuit 'jira_api' closed");
    CHECK(t.sink->stats().seen == 2);
    CHECK(t.sink->stats().sent == 2);
}

TEST_CASE("a slow probe that leaves the circuit open is no alert", "[alert_sink][H-USE-20]") {
    by_hand t({.deduplicate_for = 0s});
    const rs::circuit_breaker breaker({.name = "jira_api",
                                       .failure_threshold = 1,
                                       .recovery_timeout = 30s,
                                       .slow_call_duration = 1s,
                                       .slow_call_rate_threshold = 1.0},
                                      t.reg);
    (void)breaker.try_call([] { throw std::runtime_error("HTTP 503"); });
    CHECK(t.names() == names{"jira_api"});

    t.clock.advance(30s);
    (void)breaker.try_call([&] { t.clock.advance(2s); });

    CHECK(breaker.state() == rs::circuit_state::open);
    CHECK(t.names().empty());
}

TEST_CASE("a circuit that is opened by hand is an alert while it was half-open, and none while it was open",
          "[alert_sink]") {
    by_hand t({.deduplicate_for = 0s});
    const rs::circuit_breaker breaker({.name = "jira_api",
                                       .failure_threshold = 1,
                                       .success_threshold = 1,
                                       .recovery_timeout = 30s,
                                       .probe_lease = 10s},
                                      t.reg);
    (void)breaker.try_call([] { throw std::runtime_error("HTTP 503"); });
    CHECK(t.names() == names{"jira_api"});

    t.clock.advance(30s);
    {
        auto probe = breaker.try_acquire(); // half-opens
        t.clock.advance(10s);
        (void)breaker.try_acquire(); // its lease is over
    }
    CHECK(breaker.state() == rs::circuit_state::open);
    CHECK(t.names().empty());

    t.clock.advance(30s);
    auto probe = breaker.try_acquire();
    breaker.open_for(2h, "maintenance by bob");
    CHECK(t.sink->deliver_due() == 1);
    REQUIRE(t.sent.size() == 1);
    CHECK(t.sent[0].what.reason == "maintenance by bob");
    t.sent.clear();

    breaker.open_for(2h);
    CHECK(t.names().empty());
    breaker.reset();
    CHECK(t.names() == names{"jira_api"});
    breaker.reset();
    CHECK(t.names().empty());
}

TEST_CASE("what is an alert, and how bad", "[alert_sink]") {
    using kind = rs::event_kind;
    using state = rs::circuit_state;
    using level = rs::alert_level;
    struct row {
        rs::event e;
        bool alert;
        level how_bad;
        const char* title;
    };
    const auto of = [](kind k, const char* policy_kind, const char* name) {
        rs::event e{.kind = k, .policy_kind = policy_kind, .policy = name};
        e.attempt = 3;
        return e;
    };
    const std::vector<row> table{
        {circuit("c", state::closed, state::open), true, level::error, "Circuit 'c' opened"},
        {circuit("c", state::half_open, state::open), true, level::error, "Circuit 'c' opened"},
        {circuit("c", state::open, state::open), false, level::error, "Circuit 'c' opened"},
        {circuit("c", state::closed, state::closed), false, level::info, "Circuit 'c' closed"},
        {circuit("c", state::open, state::half_open), false, level::warning, "Circuit 'c' half-opened"},
        {circuit("c", state::half_open, state::closed), true, level::info, "Circuit 'c' closed"},
        {circuit("", state::closed, state::forced_open), true, level::warning, "Circuit was forced open"},
        {circuit("c", state::closed, state::disabled), true, level::warning, "Circuit 'c' was disabled"},
        {circuit("c", state::closed, state::metrics_only), true, level::warning,
         "Circuit 'c' was set to metrics only"},
        {of(kind::retries_exhausted, "retry", "r"), true, level::error, "All 3 attempts failed in retry 'r'"},
        {of(kind::budget_exhausted, "retry", ""), true, level::warning,
         "The retry budget is exhausted in retry"},
        {of(kind::call_abandoned, "abandoning_timeout", "t"), true, level::warning,
         "A call was abandoned and is still running in abandoning_timeout 't'"},
        {of(kind::attempt_failed, "retry", "r"), false, level::warning, "attempt_failed in retry 'r'"},
        {of(kind::call_rejected, "circuit_breaker", "c"), false, level::warning,
         "call_rejected in circuit_breaker 'c'"},
        {of(kind::policy_updated, "retry", "r"), false, level::info, "policy_updated in retry 'r'"},
    };
    for (const auto& [e, alert, how_bad, title] : table) {
        INFO(title);
        CHECK(rs::is_alert(e) == alert);
        CHECK(rs::alert_level_of(e) == how_bad);
        CHECK(rs::alert_title(e) == title);
    }
    auto e = opened("jira_api");
    e.error_type = "http_error";
    CHECK(rs::alert_fingerprint(e) == "state_changed|circuit_breaker|jira_api|open|http_error");
    CHECK(rs::alert_fingerprint(of(kind::budget_exhausted, "retry", "r")) == "budget_exhausted|retry|r||");

    rs::alert a{.what = opened("jira_api", "HTTP 503")};
    CHECK(rs::alert_message(a) == "Circuit 'jira_api' opened: HTTP 503");
    a.held_back = 3;
    CHECK(rs::alert_message(a) == "Circuit 'jira_api' opened: HTTP 503 (and 3 more)");
}

TEST_CASE("titles and messages are one line, whatever names and errors hold", "[alert_sink]") {
    rs::alert a{.what =
                    opened("jira' opened\nCircuit 'x", "\"a\"\r\n\x1B[2J it's \\ \xE2\x80\xAE\xC3\xA4\xFF")};

    CHECK(rs::alert_title(a.what) == R"(Circuit 'jira\' opened\nCircuit \'x' opened)");
    CHECK(rs::alert_message(a) == R"(Circuit 'jira\' opened\nCircuit \'x' opened: )"
                                  R"("a"\r\n\u001b[2J it's \\ \u202e)"
                                  "\xC3\xA4\xEF\xBF\xBD");
}

TEST_CASE("alert_if chooses; one that throws chooses nothing", "[alert_sink][H-EV-02]") {
    by_hand t({.alert_if = [](const rs::event& e) {
        if (e.policy == "bad") throw 42;
        return e.policy == "a";
    }});

    for (const char* name : {"a", "b", "bad"}) t.publish(opened(name));

    CHECK(t.names() == names{"a"});
    CHECK(t.sink->stats().seen == 1);
    CHECK(t.reg.listener_errors() == 1);
}

TEST_CASE("repetitions go out once, and then with their number", "[alert_sink]") {
    by_hand t({.deduplicate_for = 60s});
    t.publish(opened("jira_api"));
    CHECK(t.names() == names{"jira_api"});

    for (int i = 0; i < 10; ++i) {
        t.clock.advance(1s);
        t.publish(opened("jira_api"));
    }
    t.clock.advance(50s - 1ns);
    CHECK(t.names().empty());

    t.clock.advance(1ns);
    CHECK(t.sink->deliver_due() == 1);
    REQUIRE(t.sent.size() == 1);
    CHECK(t.sent[0].held_back == 9);
    CHECK(t.sent[0].last_seen - t.sent[0].first_seen == 9s);
    const auto s = t.sink->stats();
    CHECK(s.seen == 11);
    CHECK(s.sent == 2);
    CHECK(s.deduplicated == 9);
    CHECK(s.waiting == 0);
}

TEST_CASE("the rate limit makes alerts wait, and loses none", "[alert_sink]") {
    by_hand t({.max_per_minute = 60, .burst = 2});
    for (const char* name : {"a", "b", "c", "d"}) t.publish(opened(name));

    CHECK(t.names() == names{"a", "b"});
    CHECK(t.sink->stats().rate_limited == 2);
    CHECK(t.sink->stats().waiting == 2);
    t.clock.advance(1s);
    CHECK(t.names() == names{"c"});
    t.clock.advance(1s);
    CHECK(t.names() == names{"d"});
}

TEST_CASE("a full queue drops what is new, and counts it", "[alert_sink]") {
    by_hand t({.queue_capacity = 2});

    for (const char* name : {"a", "b", "c", "d", "a"}) t.publish(opened(name));

    const auto s = t.sink->stats();
    CHECK(s.seen == 5);
    CHECK(s.dropped == 2);
    CHECK(s.deduplicated == 1);
    CHECK(s.waiting == 2);
    CHECK(t.names() == names{"b", "a"}); // the newer change of "a" is behind
}

TEST_CASE("a sender that throws is counted and disturbs nobody; the alert is tried again until it is sent",
          "[alert_sink]") {
    by_hand t;
    t.on_send = [](const rs::alert&) { throw std::runtime_error("receiver is down"); };
    t.publish(opened("jira_api", "HTTP 503"));
    CHECK(t.sink->deliver_due() == 1);
    t.on_send = [](const rs::alert&) { throw 42; };
    t.clock.advance(30s);
    CHECK(t.sink->deliver_due() == 1);
    auto s = t.sink->stats();
    CHECK(s.waiting == 1);
    CHECK(s.failed_sends == 2);
    CHECK(s.failed == 0);

    t.on_send = nullptr;
    t.clock.advance(60s - 1ns);
    CHECK(t.sink->deliver_due() == 0);
    t.clock.advance(1ns);
    CHECK(t.sink->deliver_due() == 1);

    REQUIRE(t.sent.size() == 1);
    CHECK(t.sent[0].what.error == "HTTP 503");
    CHECK(t.sent[0].held_back == 0);
    s = t.sink->stats();
    CHECK(s.seen == 1);
    CHECK(s.sent == 1);
    CHECK(s.failed_sends == 2);
    CHECK(s.failed == 0);
    CHECK(s.waiting == 0);
    CHECK(t.reg.listener_errors() == 0);
}

TEST_CASE("an alert that is never sent is given up, and told by the next of its kind", "[alert_sink]") {
    by_hand t;
    t.on_send = [](const rs::alert&) { throw std::runtime_error("receiver is down"); };
    t.publish(opened("jira_api"));

    rs::duration waited{};
    while (t.sink->deliver_due(), t.sink->stats().waiting > 0) {
        t.clock.advance(30s);
        waited += 30s;
    }

    CHECK(waited == 102min + 30s);
    CHECK(t.sink->stats().failed_sends == 24);
    CHECK(t.sink->stats().failed == 1);
    t.on_send = nullptr;
    t.clock.advance(5min);
    t.publish(opened("jira_api"));
    CHECK(t.sink->deliver_due() == 1);
    REQUIRE(t.sent.size() == 1);
    CHECK(t.sent[0].held_back == 1);
}

TEST_CASE("what a sender causes is no alert, in no sink", "[alert_sink]") {
    by_hand t;
    std::vector<std::string> others;
    rs::alert_sink other(t.reg, {.delivery = rs::alert_delivery::by_hand},
                         [&](const rs::alert& a) { others.push_back(a.what.policy); });
    const rs::circuit_breaker receiver({.name = "receiver", .failure_threshold = 1}, t.reg);
    t.on_send = [&](const rs::alert&) {
        receiver.reset(); // each time an event, if the state was another
        (void)receiver.try_call([] { throw std::runtime_error("receiver is down"); });
    };

    t.publish(opened("jira_api"));
    for (int i = 0; i < 5; ++i) {
        t.clock.advance(1h);
        t.sink->deliver_due();
        other.deliver_due();
    }

    CHECK(receiver.state() == rs::circuit_state::open);
    CHECK(t.sink->stats().seen == 1);
    CHECK(others == names{"jira_api"});
}

TEST_CASE("redact sees the whole text on the sending thread, and what it returns is clipped",
          "[alert_sink]") {
    std::vector<std::string> seen;
    by_hand t({.redact =
                   [&](std::string_view text) {
                       seen.emplace_back(text);
                       return "token=*** " + std::string(text.substr(0, 5));
                   },
               .longest_text = 12});
    const std::string secret = std::string(5'000, ' ') + "token=abc";

    t.publish(opened("a", secret));
    CHECK(seen.empty());
    t.sink->deliver_due();

    CHECK(seen == std::vector<std::string>{secret});
    REQUIRE(t.sent.size() == 1);
    CHECK(t.sent[0].what.error == "token=***   ");
}

TEST_CASE("a redact that throws hides the text", "[alert_sink]") {
    by_hand t({.redact = [](std::string_view) -> std::string { throw 42; }});

    t.publish(opened("a", "token=abc"));
    t.sink->deliver_due();

    REQUIRE(t.sent.size() == 1);
    CHECK(t.sent[0].what.error == "[the redaction failed]");
}

TEST_CASE("long texts are clipped before they are kept", "[alert_sink][H-CB-37]") {
    by_hand t({.longest_text = 4});

    t.publish(opened("a", "abc\xC3\xA4" + std::string(1'000'000, 'x')));
    t.sink->deliver_due();

    REQUIRE(t.sent.size() == 1);
    CHECK(t.sent[0].what.error == "abc");
}

TEST_CASE("alerts carry labels and an id of their own", "[alert_sink]") {
    by_hand t({.labels = {.service = "tickets", .environment = "production"}});

    for (const char* name : {"a", "b", "c"}) t.publish(opened(name));
    t.sink->deliver_due();

    REQUIRE(t.sent.size() == 3);
    std::set<std::string> ids;
    for (const auto& a : t.sent) {
        CHECK(a.labels.service == "tickets");
        CHECK(a.labels.environment == "production");
        CHECK(a.id.size() == 32);
        CHECK(a.id.find_first_not_of("0123456789abcdef") == std::string::npos);
        CHECK(a.id[12] == '4');
        CHECK(std::string("89ab").find(a.id[16]) != std::string::npos);
        CHECK(a.first_seen == rs::testing::virtual_clock::start_wall_time);
        CHECK(a.last_seen == a.first_seen);
        ids.insert(a.id);
    }
    CHECK(ids.size() == 3);
}

TEST_CASE("two processes that number alerts from the same beginning do not give the same ids",
          "[alert_sink]") {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    const pid_t child = fork();
    by_hand t; // both draw the same random numbers
    t.publish(opened("a"));
    t.sink->deliver_due();
    if (child == 0) {
        const bool written = t.sent.size() == 1 && write(ends[1], t.sent[0].id.data(), 32) == 32;
        _exit(written ? 0 : 1);
    }
    std::string id(32, ' ');
    REQUIRE(t.sent.size() == 1);
    close(ends[1]);
    CHECK(read(ends[0], id.data(), 32) == 32);
    close(ends[0]);
    CHECK(waitpid(child, nullptr, 0) == child);
    CHECK(id != t.sent[0].id);
}

TEST_CASE("a sender that asks for the next alert gets none: they go out one after another", "[alert_sink]") {
    by_hand t;
    std::vector<std::size_t> inside;
    t.on_send = [&](const rs::alert&) { inside.push_back(t.sink->deliver_due()); };
    t.publish(opened("a"));
    t.publish(opened("b"));

    CHECK(t.sink->deliver_due() == 2);

    CHECK(inside == std::vector<std::size_t>{0, 0});
    CHECK(t.names() == names{"a", "b"});
}

TEST_CASE("no code of the user's runs under the sink's lock", "[alert_sink][H-EV-01]") {
    // Each asks the sink for its statistics, which takes the lock: it would wait for itself for ever.
    by_hand* self = nullptr;
    unsigned asked = 0;
    const auto ask = [&] {
        (void)self->sink->stats();
        ++asked;
    };
    by_hand t({.alert_if =
                   [&](const rs::event&) {
                       ask();
                       return true;
                   },
               .redact =
                   [&](std::string_view) {
                       ask();
                       return std::string();
                   }});
    self = &t;
    t.on_send = [&](const rs::alert&) { ask(); };

    t.publish(opened("a", "error"));
    t.sink->deliver_due();

    CHECK(asked == 3);
}

TEST_CASE("a worker sends without being asked, and flush waits for it", "[alert_sink]") {
    world w;
    std::vector<std::string> sent;
    std::thread::id sender;
    {
        rs::alert_sink sink(w.reg, {}, [&](const rs::alert& a) {
            sent.push_back(a.what.policy);
            sender = std::this_thread::get_id();
        });
        w.reg.env()->publish(opened("a"));
        w.reg.env()->publish(opened("b"));
        CHECK(sink.flush(1min));
        CHECK(sink.stats().sent == 2);
        CHECK_THROWS_AS(sink.deliver_due(), std::logic_error);
    }
    CHECK(sent == names{"a", "b"});
    CHECK(sender != std::this_thread::get_id());
}

TEST_CASE("the worker wakes when the registry's clock says that something is due", "[alert_sink]") {
    world w;
    std::promise<std::uint64_t> second;
    int count = 0;
    rs::alert_sink sink(w.reg, {.deduplicate_for = 60s}, [&](const rs::alert& a) {
        if (++count == 2) second.set_value(a.held_back);
    });
    w.reg.env()->publish(opened("a"));
    REQUIRE(sink.flush(1min));
    for (int i = 0; i < 3; ++i) w.reg.env()->publish(opened("a"));
    CHECK(sink.flush(1min)); // what is held is not waited for
    CHECK(sink.stats().waiting == 1);
    while (w.clock.next_timer() == rs::time_point::max()) std::this_thread::yield(); // until the worker waits

    w.clock.advance(60s);

    CHECK(second.get_future().get() == 2);
}

TEST_CASE("the worker tries again what was not sent", "[alert_sink]") {
    world w;
    std::promise<std::string> second;
    int count = 0;
    rs::alert_sink sink(w.reg, {}, [&](const rs::alert& a) {
        if (++count == 1) throw std::runtime_error("receiver is down");
        second.set_value(a.what.policy);
    });
    w.reg.env()->publish(opened("a"));
    CHECK(sink.flush(1min)); // does not wait for the next try
    while (w.clock.next_timer() == rs::time_point::max()) std::this_thread::yield(); // until the worker waits

    w.clock.advance(30s);

    CHECK(second.get_future().get() == "a");
}

TEST_CASE("a sink that ends waits for the alert in flight alone, which it asks to stop", "[alert_sink]") {
    world w;
    rs::registry senders; // of the machine's time
    const rs::retry retry(
        {.max_attempts = 100, .base_delay = 1h, .max_delay = 1h, .jitter = rs::jitter::none}, senders);
    std::promise<void> tried;
    std::vector<std::string> sent;
    {
        rs::alert_sink sink(w.reg, {.send_limit = 1000h}, [&](const rs::alert& a) {
            sent.push_back(a.what.policy);
            retry([&] {
                tried.set_value();
                throw std::runtime_error("receiver is down");
            });
        });
        w.reg.env()->publish(opened("a"));
        tried.get_future().get();
        for (int i = 0; i < 1'000; ++i) w.reg.env()->publish(opened("b" + std::to_string(i)));
        CHECK(sink.stats().waiting == 257);
        CHECK(sink.stats().dropped == 744);
        CHECK_FALSE(sink.flush(0s));
    } // an hour later, if the delay were not cut short

    CHECK(sent == names{"a"});
}

TEST_CASE("a sender inherits the limit of the send", "[alert_sink]") {
    by_hand t({.send_limit = 7s});
    rs::registry senders;
    std::optional<rs::duration> left;
    t.on_send = [&](const rs::alert&) {
        const rs::retry once({.max_attempts = 1}, senders);
        once([&](rs::call_context& ctx) { left = ctx.remaining(); });
    };

    t.publish(opened("a"));
    t.sink->deliver_due();

    REQUIRE(left);
    CHECK(*left <= 7s);
    CHECK(*left > 0s);
}

TEST_CASE("a sink may be destroyed by its own sender", "[alert_sink]") {
    world w;
    std::promise<void> gone;
    auto sink = std::make_unique<std::optional<rs::alert_sink>>();
    sink->emplace(w.reg, rs::alert_config{}, [&](const rs::alert&) {
        sink->reset();
        gone.set_value();
    });

    w.reg.env()->publish(opened("a"));
    gone.get_future().get();

    CHECK_FALSE(sink->has_value());
    CHECK_FALSE(w.reg.env()->has_listeners());
}

TEST_CASE("a sink that is delivered by hand may be destroyed by its own sender, too", "[alert_sink]") {
    by_hand t;
    t.on_send = [&](const rs::alert&) { t.sink.reset(); };
    t.publish(opened("a"));
    t.publish(opened("b"));

    CHECK(t.sink->deliver_due() == 1);

    CHECK_FALSE(t.sink.has_value());
    CHECK(t.sent.size() == 1);
}

TEST_CASE("a sender that destroys its sink may take the clock with it, whether it fails or not",
          "[alert_sink]") {
    struct counting_clock : rs::testing::virtual_clock {
        rs::time_point now() const noexcept override {
            ++asked;
            return virtual_clock::now();
        }
        mutable int asked = 0;
    };
    const bool fails = GENERATE(false, true);
    counting_clock clock;
    int asked_by_then = 0;
    {
        rs::registry reg(clock);
        std::optional<rs::alert_sink> sink;
        sink.emplace(reg, rs::alert_config{.delivery = rs::alert_delivery::by_hand}, [&](const rs::alert&) {
            sink.reset();
            asked_by_then = clock.asked; // here it could end
            if (fails) throw std::runtime_error("receiver is down");
        });
        reg.env()->publish(opened("a"));
        CHECK(sink->deliver_due() == 1);
    }
    CHECK(clock.asked == asked_by_then);
}

TEST_CASE("the send function is destroyed with the sink, not later", "[alert_sink]") {
    world w;
    const auto kept = std::make_shared<int>(1);
    {
        rs::alert_sink sink(w.reg, {}, [kept](const rs::alert&) {});
        w.reg.env()->publish(opened("a"));
    }
    CHECK(kept.use_count() == 1);
}

TEST_CASE("a bad config of a sink is refused with field, value and range", "[alert_sink]") {
    world w;
    const auto send = [](const rs::alert&) {};
    const auto said = [](rs::alert_config c) { return rs::validate(c); };

    CHECK(said({}).empty());
    CHECK(said({.deduplicate_for = -1s}) == "alert_config.deduplicate_for is -1s; it must be 0 or more");
    CHECK(said({.max_per_minute = 0}) == "alert_config.max_per_minute is 0; it must be in 1..60000");
    CHECK(said({.max_per_minute = 60'001}) == "alert_config.max_per_minute is 60001; it must be in 1..60000");
    CHECK(said({.burst = 0}) == "alert_config.burst is 0; it must be in 1..10000");
    CHECK(said({.queue_capacity = 0}) == "alert_config.queue_capacity is 0; it must be in 1..10000");
    CHECK(said({.longest_text = 65'537}) == "alert_config.longest_text is 65537; it must be in 0..65536");
    CHECK(said({.send_limit = 0s}) == "alert_config.send_limit is 0ns; it must be more than 0");
    CHECK_THROWS_AS(rs::alert_sink(w.reg, {.burst = 0}, send), std::invalid_argument);
    CHECK_THROWS_AS(rs::alert_sink(w.reg, {}, nullptr), std::invalid_argument);
    CHECK_FALSE(w.reg.env()->has_listeners());
}
