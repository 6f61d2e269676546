// SPDX-License-Identifier: Apache-2.0
// Which outcomes are retried.
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/scripted.hpp>

#include "support/catch.hpp"
#include "support/world.hpp"

#include <tl/expected.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using rs::testing::runs;
using rs::testing::scripted;
using rs::testing::throws;
using support::at_once;
using support::http_answer;
using support::http_error;
using support::world;

/// Attempts that a call makes which throws that for ever, of three.
std::size_t attempts_for(std::exception_ptr thrown, rs::predicate retry_if = {}) {
    world w;
    auto c = at_once(3);
    c.retry_if = std::move(retry_if);
    const rs::retry retry{c, w.reg};
    const auto f = scripted<int>{throws(std::move(thrown))}.repeat_last();
    (void)retry.try_call(f);
    return f.calls();
}
template <class E>
std::size_t attempts_when(E e, rs::predicate retry_if = {}) {
    return attempts_for(std::make_exception_ptr(std::move(e)), std::move(retry_if));
}
template <class R>
std::size_t attempts_returning(R value) {
    world w;
    const rs::retry retry{at_once(3), w.reg};
    const auto f = scripted<R>{value}.repeat_last();
    (void)retry.try_call(f);
    return f.calls();
}

TEST_CASE("by default any exception is retried, whatever its type", "[retry][H-CPP-11]") {
    CHECK(attempts_when(std::runtime_error("x")) == 3);
    CHECK(attempts_when(std::logic_error("x")) == 3);
    CHECK(attempts_when(42) == 3);
    CHECK(attempts_when(std::string("text")) == 3);
    CHECK(attempts_when(static_cast<const char*>("text")) == 3);
    CHECK(attempts_when(std::system_error(std::make_error_code(std::errc::connection_refused))) == 3);
}

TEST_CASE("by default std::bad_alloc is not retried", "[retry][H-CPP-11]") {
    struct derived : std::bad_alloc {};

    CHECK(attempts_when(std::bad_alloc{}) == 1);
    CHECK(attempts_when(derived{}) == 1);
    CHECK(attempts_when(std::bad_alloc{}, rs::on<std::bad_alloc>()) == 3);
}

TEST_CASE("by default our rejections and cancellation are not retried, time-outs are", "[retry][H-RT-13]") {
    const auto attempts = [](auto e) { return attempts_when(std::move(e)); };

    CHECK(attempts(rs::circuit_open_error(rs::errc::circuit_open, "jira", "open")) == 1);
    CHECK(attempts(rs::bulkhead_full_error(rs::errc::bulkhead_full, "jira", "full")) == 1);
    CHECK(attempts(rs::rate_limited_error(rs::errc::rate_limited, "jira", "limited")) == 1);
    CHECK(attempts(rs::throttled_error(rs::errc::throttled, "jira", "throttled")) == 1);
    CHECK(attempts(rs::limit_exceeded_error(rs::errc::limit_exceeded, "jira", "exceeded")) == 1);
    CHECK(attempts(rs::workers_exhausted_error(rs::errc::workers_exhausted, "jira", "exhausted")) == 1);
    CHECK(attempts(rs::cancelled_error(rs::errc::cancelled, "", "cancelled")) == 1);
    CHECK(attempts(std::system_error(std::make_error_code(std::errc::operation_canceled))) == 1);
    CHECK(attempts(rs::timeout_error(rs::errc::timed_out, "", "late")) == 3);
}

TEST_CASE("by default an exception that stands for an HTTP answer is judged by its status", "[retry]") {
    for (const int status : {408, 425, 429, 500, 502, 503, 504, 599, 0})
        CHECK(attempts_when(http_error(status)) == 3);
    for (const int status : {400, 401, 403, 404, 409, 422, 499})
        CHECK(attempts_when(http_error(status)) == 1);
}

TEST_CASE("by default a returned HTTP answer is judged by its status", "[retry]") {
    for (const int status : {408, 425, 429, 500, 503, 0}) CHECK(attempts_returning(http_answer{status}) == 3);
    for (const int status : {200, 204, 302, 400, 404, 422, 499})
        CHECK(attempts_returning(http_answer{status}) == 1);
}

TEST_CASE("by default failing values are retried and the last goes out unchanged", "[retry]") {
    using result = tl::expected<int, std::string>;
    world w;
    const rs::retry retry{at_once(3), w.reg};
    const scripted<result> f{tl::unexpected<std::string>("1"), tl::unexpected<std::string>("2"),
                             tl::unexpected<std::string>("3")};
    const scripted<result> g{tl::unexpected<std::string>("1"), 7};

    CHECK(retry(f).error() == "3");
    CHECK(retry(g).value() == 7);
    CHECK(attempts_returning(std::make_error_code(std::errc::io_error)) == 3);
    CHECK(attempts_returning(std::make_error_code(std::errc::operation_canceled)) == 1);
    CHECK(attempts_returning(std::error_code{}) == 1);
    CHECK(attempts_returning(std::errc::io_error) == 3);
    CHECK(attempts_returning(std::errc{}) == 1);
}

TEST_CASE("retry_if decides alone where it is set", "[retry]") {
    CHECK(attempts_when(std::runtime_error("x"), rs::on<std::runtime_error>()) == 3);
    CHECK(attempts_when(std::range_error("derived"), rs::on<std::runtime_error>()) == 3);
    CHECK(attempts_when(std::logic_error("x"), rs::on<std::runtime_error>()) == 1);
    CHECK(attempts_when(std::logic_error("x"), rs::not_on<std::runtime_error>()) == 3);
    CHECK(attempts_when(http_error(404), [](const rs::failure& f) { return f.http_status() == 404; }) == 3);
    CHECK(attempts_when(rs::circuit_open_error(rs::errc::circuit_open, "", ""),
                        rs::on<rs::circuit_open_error>()) == 3);
}

TEST_CASE("retry_if names an exception of ours also where a policy of the same pipeline makes it",
          "[retry][H-RT-13]") {
    struct refuser {
        rs::errc code;
        struct call {
            rs::errc code;
            rs::admission admit(rs::call_context&) {
                return rs::admission::reject(rs::rejection{.code = code});
            }
            rs::settlement settle(const rs::attempt_result&, rs::call_context&) {
                return rs::settlement::finish();
            }
        };
        call begin(rs::call_context&) const { return {code}; }
    };
    const auto retried = [](rs::errc code, rs::predicate retry_if) {
        world w;
        auto c = at_once(3);
        unsigned asked = 0;
        c.retry_if = rs::predicate([&asked, p = std::move(retry_if)](const rs::failure& f) {
            ++asked;
            return p(f);
        });
        (void)(rs::retry{c, w.reg} | refuser{code}).try_call([] {});
        return asked == 3;
    };

    CHECK(retried(rs::errc::timed_out, rs::on<rs::timeout_error>()));
    CHECK(retried(rs::errc::circuit_open, rs::on<rs::circuit_open_error>()));
    CHECK(retried(rs::errc::rate_limited, rs::on<rs::error>()));
    CHECK(retried(rs::errc::rate_limited,
                  rs::on<rs::error>([](const rs::error& e) { return e.code() == rs::errc::rate_limited; })));
    CHECK_FALSE(retried(rs::errc::rate_limited, rs::on<rs::error>([](const rs::error& e) {
                            return e.code() == rs::errc::throttled;
                        })));
    CHECK_FALSE(retried(rs::errc::circuit_open, rs::on<rs::timeout_error>()));
    CHECK_FALSE(retried(rs::errc::circuit_open, rs::not_on<rs::circuit_open_error>()));
    CHECK(retried(rs::errc::timed_out, rs::not_on<rs::circuit_open_error>()));
    // Those that name the user's exceptions do not mean our rejections.
    CHECK_FALSE(retried(rs::errc::circuit_open, rs::on<std::exception>()));
    CHECK_FALSE(retried(rs::errc::circuit_open, rs::on<std::runtime_error>()));
}

TEST_CASE("on_result retries values that the type calls successes; the last is returned", "[retry]") {
    world w;
    auto c = at_once(3);
    c.retry_if = rs::on_result<int>([](int n) { return n < 0; });
    const rs::retry retry{c, w.reg};
    const scripted<int> recovers{-1, -2, 5};
    const scripted<int> never{-1, -2, -3, 5};
    const scripted<int> throwing{throws(std::runtime_error("x")), 5};

    CHECK(retry(recovers) == 5);
    CHECK(retry(never) == -3);
    CHECK(never.calls() == 3);
    CHECK(retry(throwing) == 5); // the predicate names values alone, so the default rule decides
}

TEST_CASE("on_result joins with on, and is silent for results of other types", "[retry]") {
    world w;
    auto c = at_once(3);
    c.retry_if = rs::on_result<int>([](int n) { return n < 0; }) || rs::on<std::runtime_error>();
    const rs::retry retry{c, w.reg};
    const scripted<int> f{-1, throws(std::runtime_error("x")), 5};
    const scripted<long> other{-1L};

    CHECK(retry(f) == 5);
    CHECK(retry(other) == -1);
    retry([] {});
}

TEST_CASE("what retry_if says of exceptions does not mean values that are successes", "[retry]") {
    world w;
    auto c = at_once(3);
    c.retry_if = rs::not_on<std::logic_error>() || rs::on_result<int>([](int n) { return n < 0; });
    const rs::retry retry{c, w.reg};
    const scripted<int> f{5};
    const scripted<int> pending{-1, throws(std::runtime_error("x")), 5};
    const scripted<int> fatal{throws(std::logic_error("x")), 5};

    CHECK(retry(f) == 5);
    CHECK(f.calls() == 1);
    CHECK(retry(pending) == 5);
    CHECK_THROWS_AS(retry(fatal), std::logic_error);
}

TEST_CASE("a value that on_result refused to the end is a failed call for the statistics", "[retry]") {
    world w;
    auto c = at_once(2);
    c.wrap_exhausted = true; // there is no failure to wrap
    c.retry_if = rs::on_result<int>([](int n) { return n < 0; });
    const rs::retry retry{c, w.reg};

    CHECK(retry(scripted<int>{-1, -2}) == -2);

    CHECK(retry.stats().exhausted == 1);
    CHECK(retry.stats().failed_after_retry == 1);
}

TEST_CASE("a retry_if that throws stops retrying; the original outcome wins", "[retry][H-RT-24]") {
    world w;
    auto c = at_once(3);
    c.retry_if = [](const rs::failure&) -> bool { throw std::logic_error("predicate"); };
    const rs::retry retry{c, w.reg};
    const auto f = scripted<int>{throws(std::runtime_error("down"))}.repeat_last();

    CHECK_THROWS_WITH(retry(f), "down");

    CHECK(f.calls() == 1);
    CHECK(retry.stats().predicate_errors == 1);
    CHECK(retry.stats().failed_without_retry == 1);
    CHECK(retry.stats().calls == 1);
}

TEST_CASE("an on_result that throws leaves the value as it is", "[retry][H-RT-24]") {
    world w;
    auto c = at_once(3);
    c.retry_if = rs::on_result<int>([](int) -> bool { throw 42; });
    const rs::retry retry{c, w.reg};
    const scripted<int> f{5};

    CHECK(retry(f) == 5);
    CHECK(retry.stats().predicate_errors == 1);
}

/// Counts how many of its kind live at once.
struct handle {
    static inline int alive = 0;
    static inline int most = 0;
    explicit handle(bool g) : good(g) { count(); }
    handle(handle&& other) noexcept : good(other.good) { count(); }
    handle(const handle&) = delete;
    ~handle() { --alive; }
    static void count() { most = std::max(most, ++alive); }
    bool good;
};

TEST_CASE("a discarded result is gone before the next attempt begins", "[retry][H-RT-21]") {
    world w;
    auto c = at_once(3);
    c.retry_if = rs::on_result<handle>([](const handle& h) { return !h.good; });
    const rs::retry retry{c, w.reg};
    handle::alive = handle::most = 0;
    unsigned calls = 0;
    std::vector<int> alive_at_begin;

    const auto result = retry.try_call([&] {
        alive_at_begin.push_back(handle::alive);
        return handle(++calls == 3);
    });

    CHECK(result.has_value());
    CHECK(alive_at_begin == std::vector<int>{0, 0, 0});
    CHECK(handle::most == 1);
}

TEST_CASE("a failing value is gone before the next attempt begins", "[retry][H-RT-21]") {
    using result = tl::expected<int, std::shared_ptr<int>>;
    world w;
    const rs::retry retry{at_once(3), w.reg};
    std::vector<bool> gone;
    std::weak_ptr<int> last;

    (void)retry.try_call([&]() -> result {
        gone.push_back(last.expired());
        auto owned = std::make_shared<int>(1);
        last = owned;
        return tl::unexpected(std::move(owned));
    });

    CHECK(gone == std::vector<bool>{true, true, true});
}

} // namespace
