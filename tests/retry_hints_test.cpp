// SPDX-License-Identifier: Apache-2.0
// What a server, a value or an exception says about trying again.
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/scripted.hpp>

#include "support/catch.hpp"
#include "support/world.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <set>
#include <stdexcept>
#include <system_error>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using rs::testing::scripted;
using rs::testing::throws;
using support::at_once;
using support::http_answer;
using support::http_error;
using support::plain;
using support::world;
using delays = std::vector<rs::duration>;

/// The delay before the second attempt, after a 503 with that hint.
rs::duration delay_after(rs::duration hint, rs::retry_config c, double number = 0.5) {
    world w{number};
    c.max_attempts = 2;
    (void)rs::retry(c, w.reg).try_call(scripted<int>{throws(http_error(503, hint)), 1});
    REQUIRE(w.clock.slept().size() == 1);
    return w.clock.slept().front();
}

TEST_CASE("callers with the same hint come back one after the other, none too early", "[retry][H-USE-12]") {
    std::set<rs::duration> moments;
    for (int caller = 0; caller < 200; ++caller) {
        rs::testing::virtual_clock clock;
        rs::registry reg{clock}; // random as in production
        const rs::retry retry({.max_attempts = 2}, reg);
        (void)retry.try_call(scripted<int>{throws(http_error(503, 30s)), 1});
        moments.insert(clock.slept().front());
    }

    CHECK(moments.size() > 190);
    CHECK(*moments.begin() >= 30s);
    CHECK(*moments.rbegin() <= 33s);
}

TEST_CASE("the share above a hint is of base_delay, or of a tenth of the hint if that is more",
          "[retry][H-USE-12]") {
    CHECK(delay_after(5s, {.base_delay = 1s}) == 5500ms);
    CHECK(delay_after(30s, {.base_delay = 1s}) == 31500ms);
    CHECK(delay_after(10s, {.base_delay = 1s}) == 10500ms);
    CHECK(delay_after(20s, {.base_delay = 0s}) == 21s);
    CHECK(delay_after(60s, {.base_delay = 1s}) == 63s); // max_delay does not cut it
    CHECK(delay_after(30s, {.base_delay = 1s}, 0.0) == 30s);
    CHECK(delay_after(5s, {.base_delay = 1s, .jitter = rs::jitter::none}) == 5s);
    CHECK(delay_after(1s, {.base_delay = 10s}, 0.0) == 1s);
    CHECK(delay_after(1s, {.base_delay = 10s, .jitter = rs::jitter::none}) == 10s); // a floor, no more
    static_assert(rs::delay_after_hint(rs::duration::max(), 1s, rs::jitter::full).drawn(1.0) ==
                  rs::duration::max());
}

TEST_CASE("the share above a hint keeps to the deadline and to max_elapsed", "[retry][H-USE-12]") {
    const auto attempts = [](std::optional<rs::duration> deadline, std::optional<rs::duration> elapsed) {
        world w{0.5};
        const rs::retry retry({.max_attempts = 2, .base_delay = 1s, .max_elapsed = elapsed}, w.reg);
        const scripted<int> f{throws(http_error(503, 5s)), 1};
        rs::call_options options;
        if (deadline) options.deadline = w.clock.now() + *deadline;
        (void)retry.with(options).try_call(f);
        return w.clock.slept().empty() ? rs::duration{0} : w.clock.slept().front();
    };
    const rs::duration to_the_middle = 5s + (100ms - 1ns) / 2;

    CHECK(attempts(1h, {}) == 5500ms);
    CHECK(attempts(5100ms, {}) == to_the_middle);
    CHECK(attempts({}, 5100ms) == to_the_middle);
    CHECK(attempts(5s + 1ns, {}) == 5s);
    CHECK(attempts(5s, {}) == 0s);
    CHECK(attempts({}, 5s) == 0s);
}

TEST_CASE("a delay of delay_override is cut by nothing but deadline and max_elapsed", "[retry][H-USE-12]") {
    const auto override_by = [](rs::duration d) {
        return [d](unsigned, const rs::failure&) { return std::optional(d); };
    };

    CHECK(delay_after(0s, {.max_delay = 10s, .delay_override = override_by(5min)}) == 5min);
    CHECK(delay_after(5s, {.delay_override = override_by(6s)}) == 6s);
    CHECK(delay_after(5s, {.delay_override = override_by(5s)}) == 5s);
    CHECK(delay_after(5s, {.delay_override = override_by(4s)}) == 5500ms);

    world w;
    const rs::retry retry({.delay_override = override_by(5min), .budget = rs::retry_budget::unlimited()},
                          w.reg);
    (void)retry.with({.deadline = w.clock.now() + 5min}).try_call([] { throw std::runtime_error("down"); });
    CHECK(w.clock.slept().empty());
}

TEST_CASE("403, 409 and 413 with a hint are retried", "[retry][H-USE-13]") {
    for (const int status : {403, 409, 413}) {
        world w;
        const rs::retry retry{plain(3), w.reg};

        CHECK(retry(scripted<http_answer>{http_answer{status, 5s}, http_answer{200}}).status == 200);
        CHECK(retry(scripted<int>{throws(http_error(status, 5s)), 1}) == 1);
        CHECK(retry(scripted<http_answer>{http_answer{status}, http_answer{200}}).status == status);
        CHECK_THROWS_AS(retry(scripted<int>{throws(http_error(status)), 1}), http_error);
        CHECK(w.clock.slept() == delays{5s, 5s});
    }
}

TEST_CASE("501 and 505 are not retried", "[retry][H-USE-09]") {
    for (const int status : {501, 505}) {
        world w;
        const rs::retry retry{at_once(3), w.reg};
        const scripted<http_answer> value{http_answer{status}, http_answer{200}};
        const scripted<int> thrown{throws(http_error(status)), 1};

        CHECK(retry(value).status == status);
        CHECK_THROWS_AS(retry(thrown), http_error);
    }
}

/// A server's push-back below 0, as an exception and as a value.
struct pushed_back : std::runtime_error, rs::hint_carrier {
    pushed_back() : std::runtime_error("RESOURCE_EXHAUSTED") {}
    bool forbids_retry() const noexcept override { return true; }
};
struct rpc_status {
    int code = 0;
    bool pushed_back = false;
    bool ok() const noexcept { return code == 0; }
    friend bool forbids_retry(const rpc_status& s) noexcept { return s.pushed_back; }
};

} // namespace

template <>
inline constexpr bool resilience::enable_status_like<rpc_status> = true;

namespace {

TEST_CASE("a server that forbids to try again is obeyed", "[retry][H-USE-13]") {
    world w;
    auto c = at_once(3);
    const rs::retry usual{c, w.reg};
    c.retry_if = [](const rs::failure&) { return true; };
    const rs::retry eager{c, w.reg};
    c.respect_retry_after = false;
    const rs::retry deaf{c, w.reg};
    const auto attempts = [](const rs::retry& retry, auto failing, auto good) {
        const scripted<decltype(good)> f{failing, good};
        (void)retry.try_call(f);
        return f.calls();
    };

    for (const auto& retry : {usual, eager}) {
        CHECK(attempts(retry, throws(pushed_back()), 1) == 1);
        CHECK(attempts(retry, rpc_status{8, true}, rpc_status{}) == 1);
        CHECK(attempts(retry, rpc_status{8, false}, rpc_status{}) == 2);
    }
    CHECK(attempts(deaf, throws(pushed_back()), 1) == 2);
    CHECK(attempts(deaf, rpc_status{8, true}, rpc_status{}) == 2);
    const auto inner = [&] {
        return rs::retry(at_once(1), w.reg).try_call([] { return rpc_status{8, true}; });
    };
    int calls = 0;
    (void)usual([&] { return ++calls, inner(); });
    CHECK(calls == 1);
}

TEST_CASE("an exception that is no HTTP answer can carry a hint", "[retry][H-USE-13]") {
    struct later : rs::hint_carrier {
        std::optional<rs::duration> retry_after() const noexcept override { return 5s; }
    };
    world w;

    (void)rs::retry(plain(2), w.reg).try_call([] { throw later(); });

    CHECK(w.clock.slept() == delays{5s});
}

TEST_CASE("retry_if sees an answer of 404 as a value and as an exception", "[retry][H-USE-09]") {
    const rs::predicate is_404 = [](const rs::failure& f) { return f.http_status() == 404; };
    const auto attempts = [](const rs::predicate& retry_if, int status) {
        world w;
        auto c = at_once(2);
        c.retry_if = retry_if;
        const rs::retry retry{c, w.reg};
        const auto value = scripted<http_answer>{http_answer{status}}.repeat_last();
        const auto thrown = scripted<int>{throws(http_error(status))}.repeat_last();
        (void)retry.try_call(value);
        (void)retry.try_call(thrown);
        CHECK(value.calls() == thrown.calls());
        return value.calls();
    };

    CHECK(attempts(is_404, 404) == 2);
    CHECK(attempts(is_404, 503) == 1);
    CHECK(attempts(rs::default_rule() || is_404, 404) == 2);
    CHECK(attempts(rs::default_rule() || is_404, 503) == 2);
    CHECK(attempts(rs::default_rule() || is_404, 400) == 1);
    CHECK(attempts(rs::default_rule() && !is_404, 429) == 2);
    CHECK(attempts(!rs::default_rule(), 503) == 1);
}

TEST_CASE("a retry_if of values alone leaves failures of all kinds to the default rule",
          "[retry][H-USE-09]") {
    world w;
    auto c = at_once(9);
    c.retry_if = rs::on_result<http_answer>([](const http_answer& a) { return a.status == 202; });
    const rs::retry retry{c, w.reg};
    const scripted<http_answer> story{throws(std::runtime_error("x")),
                                      http_answer{202},
                                      http_answer{503},
                                      throws(rs::timeout_error(rs::errc::timed_out, "", "late")),
                                      http_answer{0},
                                      http_answer{200}};
    const scripted<http_answer> missing{http_answer{404}, http_answer{200}};
    const scripted<http_answer> cancelled{throws(rs::cancelled_error(rs::errc::cancelled, "", "no")),
                                          http_answer{200}};

    CHECK(retry(story).status == 200);
    CHECK(story.calls() == 6);
    CHECK(retry(missing).status == 404);
    CHECK_FALSE(retry.try_call(cancelled).has_value());
}

TEST_CASE("a retry's operations may all be unsafe, a call knows better", "[retry][H-USE-31]") {
    world w;
    auto c = at_once(3);
    const auto attempts = [&](rs::idempotency config, std::optional<rs::idempotency> call,
                              std::exception_ptr thrown) {
        c.idempotency = config;
        const auto f = scripted<int>{throws(thrown)}.repeat_last();
        (void)rs::retry(c, w.reg).with({.idempotency = call}).try_call(f);
        return f.calls();
    };
    const auto sent = std::make_exception_ptr(http_error(503));
    const auto not_sent =
        std::make_exception_ptr(std::system_error(std::make_error_code(std::errc::connection_refused)));
    using enum rs::idempotency;

    CHECK(attempts(safe, {}, sent) == 3);
    CHECK(attempts(unsafe, {}, sent) == 1);
    CHECK(attempts(unsafe, {}, not_sent) == 3);
    CHECK(attempts(unsafe, safe, sent) == 3);
    CHECK(attempts(safe, unsafe, sent) == 1);
    CHECK(attempts(safe, unsafe, not_sent) == 3);

    c.idempotency = unsafe;
    const auto plain_call = scripted<int>{throws(sent)}.repeat_last();
    (void)rs::retry(c, w.reg).try_call(plain_call);
    CHECK(plain_call.calls() == 1);
}

/// The answer to a request that tells its method.
struct told_answer {
    int status = 200;
    std::optional<rs::idempotency> operation{};

    friend std::optional<int> http_status_of(const told_answer& r) { return r.status; }
    friend std::optional<rs::idempotency> idempotency_of(const told_answer& r) noexcept {
        return r.operation;
    }
};

TEST_CASE("a value may tell of its operation, a call knows better", "[retry][H-USE-31]") {
    world w;
    auto c = at_once(2);
    using enum rs::idempotency;
    const auto attempts = [&](std::optional<rs::idempotency> operation, rs::idempotency config,
                              std::optional<rs::idempotency> call) {
        c.idempotency = config;
        const auto f = scripted<told_answer>{told_answer{503, operation}}.repeat_last();
        (void)rs::retry(c, w.reg).with({.idempotency = call}).try_call(f);
        return f.calls();
    };

    CHECK(attempts({}, safe, {}) == 2);
    CHECK(attempts(unsafe, safe, {}) == 1);
    CHECK(attempts(unsafe, safe, safe) == 2);
    CHECK(attempts(safe, unsafe, {}) == 2);
    CHECK(attempts(safe, unsafe, unsafe) == 1);
}

TEST_CASE("a chosen delay that is as long as the hint is not bounded by max_delay", "[retry][H-USE-12]") {
    support::world w;
    const rs::retry retry({.max_attempts = 2,
                           .max_delay = 2s,
                           .delay_override = [](unsigned, const rs::failure&) { return 90s; }},
                          w.reg);
    int calls = 0;

    (void)retry.try_call([&] {
        ++calls;
        throw support::http_error(503, 70s);
    });

    CHECK(calls == 2);
    CHECK(w.clock.slept() == std::vector<rs::duration>{90s});
}

} // namespace
