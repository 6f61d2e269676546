// SPDX-License-Identifier: Apache-2.0
// Policies that users write, without a base class.
#include <resilience/any_pipeline.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/scripted.hpp>

#include "support/catch.hpp"
#include "support/world.hpp"

#include <chrono>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using rs::testing::scripted;
using rs::testing::throws;
using support::world;

using delays = std::vector<rs::duration>;
using diary = std::vector<std::string>;

/// Writes down what it is asked and told.
class witness {
public:
    witness(std::string name, diary& d) : name_(std::move(name)), diary_(&d) {}

    class call {
    public:
        explicit call(const witness& w) : who_(&w) {}
        call(const call&) = delete;
        call& operator=(const call&) = delete;
        ~call() { write("ends"); }
        rs::admission admit(rs::call_context&) {
            write("admits");
            return rs::admission::go();
        }
        rs::settlement settle(const rs::attempt_result& r, rs::call_context&) {
            write(r.succeeded() ? "succeeds" : "fails");
            return rs::settlement::finish();
        }

    private:
        void write(const std::string& verb) const { who_->diary_->push_back(who_->name_ + " " + verb); }
        const witness* who_;
    };
    call begin(rs::call_context&) const { return call(*this); }

private:
    std::string name_;
    diary* diary_;
};

/// Answers as it was told to.
template <class Admit, class Settle>
struct scripted_policy {
    Admit on_admit;
    Settle on_settle;
    struct call {
        const scripted_policy* policy;
        rs::admission admit(rs::call_context& ctx) { return policy->on_admit(ctx); }
        rs::settlement settle(const rs::attempt_result& r, rs::call_context& ctx) {
            return policy->on_settle(r, ctx);
        }
    };
    call begin(rs::call_context&) const { return {this}; }
};
const auto goes = [](rs::call_context&) { return rs::admission::go(); };
const auto finishes = [](const rs::attempt_result&, rs::call_context&) { return rs::settlement::finish(); };
template <class A, class S>
scripted_policy<A, S> answering(A admit, S settle) {
    return {std::move(admit), std::move(settle)};
}

static_assert(rs::policy<witness>);
static_assert(!rs::policy<int>);

TEST_CASE("policies are asked inwards and told outwards, each of their calls ends once",
          "[composition][user_policy]") {
    diary d;
    const rs::pipeline guard{witness("a", d), witness("b", d)};

    guard([&] { d.push_back("runs"); });

    CHECK(d == diary{"a admits", "b admits", "runs", "b succeeds", "a succeeds", "b ends", "a ends"});
}

TEST_CASE("a policy of a user's joins ours from either side", "[composition][user_policy]") {
    world w;
    diary d;
    const rs::retry retry{support::at_once(2), w.reg};
    const scripted<int> f{throws(42), 1};
    const scripted<int> g{throws(42), 1};

    CHECK((witness("w", d) | retry)(f) == 1);
    CHECK(d == diary{"w admits", "w succeeds", "w ends"});
    d.clear();
    CHECK((retry | witness("w", d))(g) == 1);
    CHECK(d == diary{"w admits", "w fails", "w admits", "w succeeds", "w ends"});
}

TEST_CASE("a policy of a user's works in an any_pipeline", "[composition][user_policy]") {
    world w;
    diary d;
    const rs::any_pipeline guard(rs::retry(support::at_once(2), w.reg), witness("w", d));

    CHECK(guard(scripted<int>{throws(42), 1}) == 1);

    CHECK(d == diary{"w admits", "w fails", "w admits", "w succeeds", "w ends"});
}

TEST_CASE("only those that admitted are told of a rejection further in", "[composition][user_policy]") {
    diary d;
    const auto refuses = answering(
        [](rs::call_context&) { return rs::admission::reject(rs::rejection{.code = rs::errc::throttled}); },
        [&](const rs::attempt_result&, rs::call_context&) {
            d.push_back("never");
            return rs::settlement::finish();
        });
    const rs::pipeline guard{witness("a", d), refuses, witness("b", d)};

    CHECK_THROWS_AS(guard([&] { d.push_back("never"); }), rs::throttled_error);

    CHECK(d == diary{"a admits", "a fails", "b ends", "a ends"});
}

TEST_CASE("a policy may make a call wait, and is asked again", "[composition][user_policy]") {
    world w;
    const auto opens = w.clock.now() + 3s;
    const auto waits = answering(
        [&](rs::call_context& ctx) {
            return ctx.clock().now() < opens ? rs::admission::wait(2s) : rs::admission::go();
        },
        finishes);
    const auto guard = rs::retry(support::plain(), w.reg) | waits;

    CHECK(guard([] { return 1; }) == 1);
    CHECK(w.clock.slept() == delays{2s, 2s});
    const rs::any_pipeline any(rs::retry(support::plain(), w.reg), waits);
    CHECK(any([] { return 1; }) == 1);
}

TEST_CASE("a policy may replace an outcome; those outside see what it made", "[composition][user_policy]") {
    diary d;
    const auto refuses_values = answering(goes, [](const rs::attempt_result& r, rs::call_context&) {
        const auto* n = r.as_failure().value<int>();
        return n != nullptr && *n < 0
                   ? rs::settlement::replace(rs::rejection{.code = rs::errc::limit_exceeded})
                   : rs::settlement::finish();
    });
    const rs::pipeline guard{witness("a", d), refuses_values};

    CHECK(guard([] { return 1; }) == 1);
    CHECK_THROWS_AS(guard([] { return -1; }), rs::limit_exceeded_error);
    CHECK(d == diary{"a admits", "a succeeds", "a ends", "a admits", "a fails", "a ends"});
}

TEST_CASE("a policy may run attempts again, with or without a delay", "[composition][user_policy]") {
    world w;
    int again = 3;
    const auto repeats = answering(goes, [&](const rs::attempt_result& r, rs::call_context&) {
        return !r.succeeded() && again-- > 0
                   ? rs::settlement::retry_after(again == 1 ? rs::duration{1s} : rs::duration{0})
                   : rs::settlement::finish();
    });
    const rs::retry inner{support::at_once(2), w.reg};
    int calls = 0;

    (void)(rs::pipeline{repeats} | inner).try_call([&] {
        ++calls;
        throw 42;
    });

    CHECK(calls == 8);
    CHECK(inner.stats().calls == 4);
    CHECK(inner.stats().nested_retries == 0);
    CHECK(w.clock.slept() == delays{1s});
}

TEST_CASE("a policy that postpones the next attempt stops a retry that would come sooner",
          "[composition][user_policy]") {
    for (const auto& [by, calls] : {std::pair{rs::duration{1s}, 2}, std::pair{rs::duration{1s + 1ns}, 1}}) {
        world w;
        const auto postpones =
            answering(goes, [after = by](const rs::attempt_result&, rs::call_context& ctx) {
                return rs::settlement::finish_until(ctx.clock().now() + after);
            });
        int made = 0;

        (void)(rs::retry(support::plain(2), w.reg) | postpones).try_call([&] {
            ++made;
            throw 42;
        });

        CHECK(made == calls);
    }
}

TEST_CASE("a pipeline of nothing but a user's policies runs on the global registry's clock",
          "[composition][user_policy]") {
    diary d;

    rs::pipeline{witness("a", d)}(
        [&](rs::call_context& ctx) { CHECK(&ctx.clock() == &rs::registry::global().clock()); });
}

TEST_CASE("a policy that throws unwinds the call: every other settles",
          "[composition][user_policy][H-CB-03]") {
    world w;
    const rs::circuit_breaker breaker{
        {.failure_threshold = 1, .success_threshold = 1, .recovery_timeout = 1s}, w.reg};
    (void)breaker.try_call([] { throw 42; });
    w.clock.advance(1s);
    const auto throwing =
        answering([](rs::call_context&) -> rs::admission { throw std::domain_error("policy"); }, finishes);

    CHECK_THROWS_AS((breaker | throwing)([] {}), std::domain_error);

    CHECK(breaker.stats().ignored == 1);
    breaker([] {}); // the probe's place was given back
    CHECK(breaker.state() == rs::circuit_state::closed);
}

} // namespace
