// SPDX-License-Identifier: Apache-2.0
// Exceptions and values that state their own verdict.
#include <resilience/circuit_breaker.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>

#include "support/catch.hpp"
#include "support/world.hpp"

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>

/// A reply that is judged by its own rule, whatever its status says.
struct judged_reply {
    int status = 200;
    resilience::verdict own = resilience::verdict::success;
    std::errc code{};

    friend std::optional<int> http_status_of(const judged_reply& r) { return r.status; }
};
template <>
struct resilience::result_traits<judged_reply> : default_result_traits<judged_reply> {
    static verdict judge(const judged_reply& r) { return r.own; }
    static std::error_code code(const judged_reply& r) noexcept { return std::make_error_code(r.code); }
};

/// The base says that such a type cannot fail; the judge says when it does.
struct plain_reply {
    int value = 0;
};
template <>
struct resilience::result_traits<plain_reply> : default_result_traits<plain_reply> {
    static verdict judge(const plain_reply& r) noexcept {
        return r.value < 0 ? verdict::failure : verdict::success;
    }
};

/// Only the text differs: the status decides.
struct worded_reply {
    int status = 200;

    friend std::optional<int> http_status_of(const worded_reply& r) { return r.status; }
};
template <>
struct resilience::result_traits<worded_reply> : default_result_traits<worded_reply> {
    static std::string message(const worded_reply& r) { return "reply " + std::to_string(r.status); }
};

namespace {

namespace rs = resilience;
using support::at_once;
using support::world;

class judged_error : public std::runtime_error, public rs::verdict_carrier {
public:
    explicit judged_error(rs::verdict own) : std::runtime_error("judged"), own_(own) {}
    rs::verdict verdict() const noexcept override { return own_; }

private:
    rs::verdict own_;
};
/// Its status and its code say something else.
class contradicted_error : public std::system_error, public rs::http_carrier, public rs::verdict_carrier {
public:
    contradicted_error(rs::verdict own, int status, std::errc code)
        : std::system_error(std::make_error_code(code)), own_(own), status_(status) {}
    rs::verdict verdict() const noexcept override { return own_; }
    int http_status() const noexcept override { return status_; }

private:
    rs::verdict own_;
    int status_;
};
struct judged_bad_alloc : std::bad_alloc, rs::verdict_carrier {
    rs::verdict verdict() const noexcept override { return rs::verdict::failure; }
};
/// An exception need be no std::exception.
struct judged_plainly : rs::verdict_carrier {
    rs::verdict verdict() const noexcept override { return rs::verdict::success; }
};

/// Asserts that all policies take an outcome for what it says: of a call through retry | circuit_breaker.
template <class F>
void check(rs::verdict expected, F f) {
    world w;
    const rs::circuit_breaker circuit({.failure_threshold = 99}, w.reg);
    const auto guard = rs::retry(at_once(3), w.reg) | circuit;
    std::size_t calls = 0;

    (void)guard.try_call([&] { return ++calls, f(); });

    const auto stats = circuit.stats();
    CHECK(calls == (expected == rs::verdict::failure ? 3 : 1));
    CHECK(stats.failures == (expected == rs::verdict::failure ? 3 : 0));
    CHECK(stats.successes == (expected == rs::verdict::success ? 1 : 0));
    CHECK(stats.ignored == (expected == rs::verdict::ignored ? 1 : 0));
}

TEST_CASE("an exception states its own verdict, which counts more than status and code", "[verdict]") {
    using rs::verdict;
    for (const verdict own : {verdict::success, verdict::failure, verdict::ignored}) {
        check(own, [&]() -> int { throw judged_error(own); });
        for (const int status : {404, 429, 503})
            check(own,
                  [&]() -> int { throw contradicted_error(own, status, std::errc::operation_canceled); });
        CHECK(rs::default_rule()(rs::failure(std::make_exception_ptr(judged_error(own)))) ==
              (own == verdict::failure));
    }
    check(verdict::failure, []() -> int { throw judged_bad_alloc(); });
    check(verdict::success, []() -> int { throw judged_plainly(); });
}

TEST_CASE("predicates count more than a verdict of one's own", "[verdict]") {
    world w;
    const rs::circuit_breaker circuit({.failure_threshold = 9, .record_if = rs::on<judged_error>()}, w.reg);

    (void)circuit.try_call([] { throw judged_error(rs::verdict::ignored); });

    CHECK(circuit.stats().failures == 1);
}

TEST_CASE("a type's own judge counts more than the status, a cancellation more than the judge", "[verdict]") {
    using rs::verdict;
    for (const verdict own : {verdict::success, verdict::failure, verdict::ignored})
        for (const int status : {200, 404, 429, 501, 503})
            check(own, [&] { return judged_reply{status, own}; });
    check(verdict::ignored,
          [&] { return judged_reply{503, verdict::failure, std::errc::operation_canceled}; });
}

TEST_CASE("a specialisation that changes the text alone leaves the verdict to the status", "[verdict]") {
    using rs::verdict;
    check(verdict::success, [] { return worded_reply{404}; });
    check(verdict::success, [] { return worded_reply{501}; });
    check(verdict::failure, [] { return worded_reply{503}; });
    const worded_reply bad{503};
    CHECK(rs::detail::describe(bad).message() == "reply 503");
}

TEST_CASE("a verdict of one's own is seen in an outcome that was returned", "[verdict]") {
    world w;
    const rs::retry inner(at_once(1), w.reg);
    using rs::verdict;

    for (const verdict own : {verdict::success, verdict::failure, verdict::ignored})
        check(own, [&] { return inner.try_call([&]() -> int { throw judged_error(own); }); });
    check(verdict::failure,
          [&] { return inner.try_call([] { return judged_reply{404, verdict::failure}; }); });
    check(verdict::ignored,
          [&] { return inner.try_call([] { return judged_reply{503, verdict::ignored}; }); });
}

TEST_CASE("a judge of one's own is asked, though its base cannot fail", "[retry][own_verdict]") {
    support::world w;
    const rs::retry retry({.max_attempts = 3}, w.reg);
    int calls = 0;

    const auto failed = retry.try_call([&] {
        ++calls;
        return plain_reply{-1};
    });

    CHECK(calls == 3);
    CHECK_FALSE(failed);
    CHECK(retry([] { return plain_reply{7}; }).value == 7);
}

} // namespace
