// SPDX-License-Identifier: Apache-2.0
// What ends a retried call early: deadlines, max_elapsed, stop requests, a server's hints, idempotency.
#include <resilience/retry.hpp>
#include <resilience/testing/scripted.hpp>

#include "support/catch.hpp"
#include "support/failing.hpp"
#include "support/heard.hpp"
#include "support/world.hpp"

#include <chrono>
#include <cstddef>
#include <exception>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <system_error>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using rs::testing::after;
using rs::testing::scripted;
using rs::testing::throws;
using support::always_failing;
using support::http_answer;
using support::http_error;
using support::plain;
using support::world;

using delays = std::vector<rs::duration>;

TEST_CASE("a delay that ends before the deadline is slept, one that ends at it is not", "[retry][H-RT-11]") {
    for (const auto& [room, calls] :
         {std::pair{rs::duration{1s + 1ns}, 2U}, std::pair{rs::duration{1s}, 1U}}) {
        world w;
        const rs::retry retry{plain(3), w.reg};
        const auto f = always_failing();

        const auto result = retry.with({.deadline = w.clock.now() + room}).try_call(f);

        CHECK(result.error().message() == "down");
        CHECK(f.calls() == calls);
        CHECK(w.clock.slept() == delays(calls - 1, 1s));
    }
}

TEST_CASE("a call whose deadline has passed is not begun", "[retry][H-TO-07]") {
    world w;
    const rs::retry retry{plain(3), w.reg};
    const auto f = always_failing();

    const auto at = retry.with({.deadline = w.clock.now()}).try_call(f);
    CHECK(at.error().code() == rs::errc::timed_out);
    CHECK(f.calls() == 0);

    (void)retry.with({.deadline = w.clock.now() + 1ns}).try_call(f);
    CHECK(f.calls() == 1);
}

/// Sleeps for longer than it is asked to, as a busy machine does.
class sluggish_clock : public rs::testing::virtual_clock {
public:
    bool sleep_until(rs::time_point until, std::stop_token stop) override {
        return virtual_clock::sleep_until(until + 10s, stop);
    }
};

TEST_CASE("no attempt begins after the deadline, even when a sleep took too long", "[retry][H-RT-11]") {
    sluggish_clock clock;
    rs::registry reg{clock};
    const rs::retry retry{plain(3), reg};
    const auto f = always_failing();

    const auto result = retry.with({.deadline = clock.now() + 5s}).try_call(f);

    CHECK(result.error().message() == "down");
    CHECK(f.calls() == 1);
    CHECK(retry.stats().failed_without_retry == 1);
}

TEST_CASE("max_elapsed ends a call whose next attempt could not start before it", "[retry]") {
    for (const auto& [limit, calls] : {std::pair{3s + 1ns, 3U}, std::pair{rs::duration{3s}, 2U}}) {
        world w;
        auto c = plain(10);
        c.max_elapsed = limit;
        const rs::retry retry{c, w.reg};
        const auto f = always_failing();

        CHECK_THROWS_WITH(retry(f), "down");

        CHECK(f.calls() == calls); // begin at 0s, 1s, 3s
        CHECK(w.clock.slept().size() == calls - 1);
    }
}

TEST_CASE("max_elapsed counts the time that attempts take, from the beginning of each call", "[retry]") {
    world w;
    auto c = plain(3);
    c.max_elapsed = 5s;
    const rs::retry retry{c, w.reg};

    for (int call = 0; call < 2; ++call) {
        const auto slow =
            scripted<int>{w.clock, {after(4s, throws(std::runtime_error("down")))}}.repeat_last();
        (void)retry.try_call(slow);
        CHECK(slow.calls() == 1);
        const auto quick =
            scripted<int>{w.clock, {after(1s, throws(std::runtime_error("down")))}}.repeat_last();
        (void)retry.try_call(quick);
        CHECK(quick.calls() == 2);
        w.clock.advance(1h);
    }
}

TEST_CASE("a stop request wakes the sleep at once and the call ends with its last outcome",
          "[retry][H-RT-12]") {
    world w;
    auto c = plain(3);
    c.base_delay = 10s;
    const rs::retry retry{c, w.reg};
    const auto f = always_failing();
    std::stop_source stop;
    const auto began = w.clock.now();
    const auto timer = w.clock.call_at(began + 300ms, [&] { stop.request_stop(); });

    const auto result = retry.with({.stop_token = stop.get_token()}).try_call(f);

    CHECK(result.error().message() == "down");
    CHECK(f.calls() == 1);
    CHECK(w.clock.now() - began == 300ms);
    CHECK(retry.stats().failed_without_retry == 1);
    CHECK(retry.stats().failed_after_retry == 0);
    CHECK(retry.stats().retries == 0);
}

TEST_CASE("a stop request in a later sleep ends the call with that attempt's outcome", "[retry][H-RT-12]") {
    world w;
    const rs::retry retry{plain(5), w.reg};
    const scripted<int> f{throws(std::runtime_error("1")), throws(std::runtime_error("2")), 3};
    std::stop_source stop;
    const auto timer = w.clock.call_at(w.clock.now() + 1500ms, [&] { stop.request_stop(); });

    CHECK_THROWS_WITH(retry.with({.stop_token = stop.get_token()})(f), "2");

    CHECK(f.calls() == 2);
    CHECK(retry.stats().failed_after_retry == 1);
    CHECK(retry.stats().retries == 1);
}

TEST_CASE("after a stop request during an attempt there is neither a sleep nor another one",
          "[retry][H-RT-12]") {
    for (const rs::duration base : {rs::duration{0}, rs::duration{1s}}) {
        world w;
        auto c = plain(3);
        c.base_delay = base;
        const rs::retry retry{c, w.reg};
        std::stop_source stop;
        unsigned calls = 0;

        const auto result = retry.with({.stop_token = stop.get_token()}).try_call([&] {
            ++calls;
            stop.request_stop();
            throw std::runtime_error("down");
        });

        CHECK(result.error().message() == "down");
        CHECK(calls == 1);
        CHECK(w.clock.slept().empty());
    }
}

TEST_CASE("a stop request does not undo a success", "[retry][H-RT-12]") {
    world w;
    const rs::retry retry{plain(3), w.reg};
    std::stop_source stop;

    CHECK(retry.with({.stop_token = stop.get_token()})([&] {
        stop.request_stop();
        return 5;
    }) == 5);
}

TEST_CASE("a call that was stopped before it began is cancelled, not run", "[retry][H-RT-12]") {
    world w;
    const rs::retry retry{plain(3), w.reg};
    std::stop_source stop;
    stop.request_stop();
    const scripted<int> f{1};

    CHECK_THROWS_AS(retry.with({.stop_token = stop.get_token()})(f), rs::cancelled_error);
    CHECK(f.calls() == 0);
}

TEST_CASE("a server's hint is a floor for the delay", "[retry][H-RT-09]") {
    world w;
    const rs::retry retry{plain(2), w.reg};
    const auto slept_after = [&](rs::duration hint) {
        const auto before = w.clock.slept().size();
        const scripted<int> f{throws(http_error(503, hint)), 1};
        CHECK(retry(f) == 1);
        const auto slept = w.clock.slept();
        return slept.size() == before ? 0ns : slept.back();
    };

    CHECK(slept_after(1s - 1ns) == 1s);
    CHECK(slept_after(1s) == 1s);
    CHECK(slept_after(1s + 1ns) == 1s + 1ns);
    CHECK(slept_after(5s) == 5s);
}

TEST_CASE("jitter never undercuts a server's hint", "[retry][H-RT-09]") {
    for (const auto jitter : {rs::jitter::full, rs::jitter::equal, rs::jitter::proportional}) {
        world w{0.0};
        auto c = plain(2);
        c.jitter = jitter;
        const rs::retry retry{c, w.reg};
        const scripted<int> f{throws(http_error(429, 7s)), 1};

        CHECK(retry(f) == 1);
        CHECK(w.clock.slept() == delays{7s});
    }
}

TEST_CASE("a hint beyond max_retry_after stops retrying", "[retry][H-RT-08]") {
    struct row {
        std::optional<rs::duration> longest;
        rs::duration hint;
        bool retried;
    };
    for (const auto& r :
         {row{{}, 60s, true}, row{{}, 60s + 1ns, false}, // max_delay
          row{5s, 5s, true}, row{5s, 5s + 1ns, false}, row{2min, 2min, true}, row{2min, 2min + 1ns, false},
          row{0s, 1ns, false}, row{{}, rs::duration::max(), false}}) {
        world w;
        auto c = plain(2);
        c.max_retry_after = r.longest;
        const rs::retry retry{c, w.reg};
        const scripted<int> f{throws(http_error(503, r.hint)), 1};

        CHECK(retry.try_call(f).has_value() == r.retried);

        CHECK(f.calls() == (r.retried ? 2 : 1));
        CHECK(w.clock.slept().size() == (r.retried ? 1 : 0));
    }
}

TEST_CASE("a hint beyond the deadline stops retrying", "[retry][H-RT-08][H-RT-11]") {
    for (const auto& [room, calls] : {std::pair{5s + 1ns, 2U}, std::pair{rs::duration{5s}, 1U}}) {
        world w;
        const rs::retry retry{plain(2), w.reg};
        const scripted<int> f{throws(http_error(503, 5s)), 1};

        (void)retry.with({.deadline = w.clock.now() + room}).try_call(f);

        CHECK(f.calls() == calls);
        CHECK(w.clock.slept() == delays(calls - 1, 5s));
    }
}

TEST_CASE("hints that are negative or nothing are ignored", "[retry][H-RT-08]") {
    for (const rs::duration hint : {rs::duration{0}, rs::duration{-5s}, rs::duration::min()}) {
        world w;
        const rs::retry retry{plain(2), w.reg};
        const scripted<int> thrown{throws(http_error(503, hint)), 1};
        const scripted<http_answer> returned{http_answer{503, hint}, http_answer{200}};

        CHECK(retry(thrown) == 1);
        CHECK(retry(returned).status == 200);

        CHECK(w.clock.slept() == delays{1s, 1s});
    }
}

TEST_CASE("a hint in a returned value counts like one in an exception", "[retry][H-RT-08][H-RT-09]") {
    world w;
    const rs::retry retry{plain(2), w.reg};
    const scripted<http_answer> soon{http_answer{429, 9s}, http_answer{200}};
    const scripted<http_answer> never{http_answer{429, 61s}, http_answer{200}};

    CHECK(retry(soon).status == 200);
    CHECK(retry(never).status == 429);

    CHECK(w.clock.slept() == delays{9s});
}

TEST_CASE("respect_retry_after = false ignores hints", "[retry][H-RT-08]") {
    world w;
    auto c = plain(3);
    c.respect_retry_after = false;
    const rs::retry retry{c, w.reg};
    const scripted<int> f{throws(http_error(503, 5s)), throws(http_error(503, 24h)), 1};

    CHECK(retry(f) == 1);
    CHECK(w.clock.slept() == delays{1s, 2s});
}

TEST_CASE("a hint is a floor for delay_override too", "[retry][H-RT-09]") {
    world w;
    auto c = plain(2);
    c.delay_override = [](unsigned, const rs::failure&) -> std::optional<rs::duration> { return 1ms; };
    const rs::retry retry{c, w.reg};
    const scripted<int> f{throws(http_error(503, 5s)), 1};

    CHECK(retry(f) == 1);
    CHECK(w.clock.slept() == delays{5s});
}

/// Says itself whether it was sent.
struct marked_error : std::runtime_error, rs::not_sent_carrier {
    explicit marked_error(bool not_sent) : std::runtime_error("marked"), not_sent_(not_sent) {}
    bool not_sent() const noexcept override { return not_sent_; }
    bool not_sent_;
};

/// No HTTP answer came, and the client knows whether the request went out.
struct no_answer : std::runtime_error, rs::http_carrier, rs::not_sent_carrier {
    explicit no_answer(bool not_sent) : std::runtime_error("no answer"), not_sent_(not_sent) {}
    int http_status() const noexcept override { return 0; }
    bool not_sent() const noexcept override { return not_sent_; }
    bool not_sent_;
};

TEST_CASE("an unsafe operation is retried only after failures known as not sent", "[retry][H-RT-20]") {
    struct row {
        std::exception_ptr thrown;
        bool retried;
    };
    const auto system = [](std::errc code) {
        return std::make_exception_ptr(std::system_error(std::make_error_code(code)));
    };
    const std::vector<row> rows = {
        {std::make_exception_ptr(std::runtime_error("who knows")), false},
        {std::make_exception_ptr(42), false},
        {std::make_exception_ptr(http_error(503)), false},
        {system(std::errc::connection_reset), false},
        {system(std::errc::timed_out), false},
        {system(std::errc::broken_pipe), false},
        {system(std::errc::connection_refused), true},
        {system(std::errc::host_unreachable), false}, // a connection that is open ends with it, too
        {system(std::errc::network_unreachable), false},
        {system(std::errc::network_down), false},
        {system(std::errc::address_not_available), true},
        {std::make_exception_ptr(marked_error(true)), true},
        {std::make_exception_ptr(marked_error(false)), false},
        {std::make_exception_ptr(http_error(0)), false},
        {std::make_exception_ptr(no_answer(true)), true},
        {std::make_exception_ptr(no_answer(false)), false},
    };
    for (const auto& r : rows) {
        world w;
        const rs::retry retry{plain(2), w.reg};
        const scripted<int> f{throws(r.thrown), 1};
        const scripted<int> safe{throws(r.thrown), 1};

        const auto unsafe = retry.with({.idempotency = rs::idempotency::unsafe}).try_call(f);

        CHECK(unsafe.has_value() == r.retried);
        CHECK(f.calls() == (r.retried ? 2 : 1));
        CHECK(retry.try_call(safe).has_value());
    }
}

TEST_CASE("of our own refusals, those that never ran the attempt are known as not sent", "[retry][H-RT-20]") {
    const auto known = [](rs::errc code) {
        return rs::retry_traits::known_not_sent(rs::rejection{.code = code});
    };

    CHECK(known(rs::errc::circuit_open));
    CHECK(known(rs::errc::bulkhead_full));
    CHECK(known(rs::errc::rate_limited));
    CHECK(known(rs::errc::throttled));
    CHECK(known(rs::errc::limit_exceeded));
    CHECK(known(rs::errc::workers_exhausted));
    CHECK_FALSE(known(rs::errc::timed_out));
    CHECK_FALSE(known(rs::errc::cancelled));
    CHECK_FALSE(known(rs::errc::retries_exhausted));
}

TEST_CASE("an unsafe operation that returned a value is not run again for it", "[retry][H-RT-20]") {
    world w;
    auto c = plain(3);
    c.retry_if = rs::on_result<int>([](int n) { return n < 0; });
    const rs::retry retry{c, w.reg};
    const scripted<int> f{-1, 1};

    CHECK(retry.with({.idempotency = rs::idempotency::unsafe})(f) == -1);
    CHECK(f.calls() == 1);
}

/// An HTTP answer, or none, whose client knows whether the request went out.
struct reply {
    int status = 200;
    bool not_sent = false;

    friend std::optional<int> http_status_of(const reply& r) noexcept {
        return r.status == 0 ? std::nullopt : std::optional<int>(r.status);
    }
    friend bool was_not_sent(const reply& r) noexcept { return r.not_sent; }
};
/// Says for itself whether it was sent, and what its code would have one believe.
struct [[nodiscard]] receipt {
    std::errc what{};
    bool not_sent = false;

    bool has_value() const noexcept { return what == std::errc{}; }
    std::error_code error() const noexcept { return std::make_error_code(what); }
    friend bool was_not_sent(const receipt& r) noexcept { return r.not_sent; }
};
/// How often an unsafe operation is run that returns `failing` first and `good` then.
template <class R>
std::size_t unsafe_attempts(R failing, R good, rs::predicate retry_if = {}) {
    world w;
    auto c = plain(2);
    c.retry_if = std::move(retry_if);
    const rs::retry retry{c, w.reg};
    const scripted<R> f{failing, good};

    (void)retry.with({.idempotency = rs::idempotency::unsafe}).try_call(f);

    CHECK(w.clock.slept() == delays(f.calls() - 1, 1s));
    return f.calls();
}

TEST_CASE("a failing value can say whether it was sent", "[retry][H-RT-20]") {
    const reply good{};

    CHECK(unsafe_attempts(reply{.status = 0, .not_sent = true}, good) == 2);
    CHECK(unsafe_attempts(reply{.status = 0, .not_sent = false}, good) == 1);
    CHECK(unsafe_attempts(reply{.status = 503, .not_sent = false}, good) == 1);
    CHECK(unsafe_attempts(http_answer{.status = 0}, http_answer{}) == 1); // its type says nothing
}

TEST_CASE("what a value says of itself counts more than its code", "[retry][H-RT-20]") {
    const receipt good{};

    CHECK(unsafe_attempts(receipt{std::errc::connection_refused, false}, good) == 1);
    CHECK(unsafe_attempts(receipt{std::errc::broken_pipe, true}, good) == 2);
    CHECK(unsafe_attempts(std::make_error_code(std::errc::connection_refused), std::error_code{}) == 2);
    CHECK(unsafe_attempts(std::make_error_code(std::errc::broken_pipe), std::error_code{}) == 1);
}

TEST_CASE("a value that retry_if takes for a failure can say whether it was sent", "[retry][H-RT-20]") {
    const auto accepted = rs::on_result<reply>([](const reply& r) { return r.status == 202; });

    CHECK(unsafe_attempts(reply{.status = 202, .not_sent = true}, reply{}, accepted) == 2);
    CHECK(unsafe_attempts(reply{.status = 202, .not_sent = false}, reply{}, accepted) == 1);
}

TEST_CASE("a clock that goes backwards neither ends nor lengthens a call", "[retry]") {
    world w;
    auto c = plain(3);
    c.max_elapsed = 1h;
    const rs::retry retry{c, w.reg};
    unsigned calls = 0;

    (void)retry.try_call([&] {
        ++calls;
        w.clock.set_back(10min);
        throw std::runtime_error("down");
    });

    CHECK(calls == 3);
    CHECK(w.clock.slept() == delays{1s, 2s});
}

} // namespace
