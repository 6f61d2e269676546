// SPDX-License-Identifier: Apache-2.0
// What calls allocate: nothing, on the paths that are promised. Counts every operator new of the program.
#include <resilience/abandoning_timeout.hpp>
#include <resilience/alert_sink.hpp>
#include <resilience/any_pipeline.hpp>
#include <resilience/bulkhead.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/fallback.hpp>
#include <resilience/mechanism/count_tally.hpp>
#include <resilience/mechanism/failure_window.hpp>
#include <resilience/mechanism/percent_budget.hpp>
#include <resilience/mechanism/time_buckets.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"
#include "support/world.hpp"

#include <tl/expected.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <latch>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>

namespace {

thread_local std::size_t allocations_of_this_thread = 0;
thread_local std::size_t bytes_of_this_thread = 0;
thread_local bool out_of_memory = false;
thread_local std::size_t allocations_left =
    std::numeric_limits<std::size_t>::max(); // one fails, later ones do not

void* allocate(std::size_t size, std::size_t alignment = alignof(std::max_align_t)) {
    ++allocations_of_this_thread;
    bytes_of_this_thread += size;
    if (out_of_memory || allocations_left-- == 0) throw std::bad_alloc();
    const std::size_t whole = (std::max<std::size_t>(size, 1) + alignment - 1) / alignment * alignment;
    if (void* p = std::aligned_alloc(alignment, whole)) return p;
    throw std::bad_alloc();
}

} // namespace

void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void* operator new(std::size_t size, std::align_val_t alignment) {
    return allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using support::world;

/// The growth of a count in the second of two runs: the first may make what a thread needs once.
template <class F>
std::size_t growth_of(const std::size_t& count, F f) {
    f();
    const std::size_t before = count;
    f();
    return count - before;
}
template <class F>
std::size_t allocations_of(F f) {
    return growth_of(allocations_of_this_thread, f);
}
/// Bytes asked for.
template <class F>
std::size_t bytes_of(F f) {
    return growth_of(bytes_of_this_thread, f);
}

struct policies {
    world w;
    rs::retry retry{{.name = "a name that is too long for the small string optimisation"}, w.reg};
    rs::circuit_breaker breaker{{.name = "a name that is too long for the small string optimisation"}, w.reg};
    rs::timeout timeout{{.name = "a name that is too long for the small string optimisation", .limit = 1s},
                        w.reg};
};

TEST_CASE("the counting works", "[composition][allocations]") {
    // Not by a new-expression, which may be optimised away.
    CHECK(allocations_of([] { ::operator delete(::operator new(1)); }) == 1);
}

TEST_CASE("a call that succeeds allocates nothing", "[composition][allocations][H-CPP-21]") {
    const policies p;
    const auto guard = p.retry | p.breaker | p.timeout;
    const rs::any_pipeline any(guard);
    const auto f = [](int n) { return n; };
    const auto with_context = [](rs::call_context& ctx) { return ctx.remaining(); };

    CHECK(allocations_of([&] { p.retry(f, 1); }) == 0);
    CHECK(allocations_of([&] { p.breaker(f, 1); }) == 0);
    CHECK(allocations_of([&] { p.timeout(f, 1); }) == 0);
    CHECK(allocations_of([&] { guard(f, 1); }) == 0);
    CHECK(allocations_of([&] { guard(with_context); }) == 0);
    CHECK(allocations_of([&] { (void)guard.try_call(f, 1); }) == 0);
    CHECK(allocations_of(
              [&] { guard.named("an operation name that is too long to be stored inline")(f, 1); }) == 0);
    CHECK(allocations_of([&] { guard.with({.deadline = p.w.clock.now() + 1s})(f, 1); }) == 0);
    CHECK(allocations_of([&] { any(f, 1); }) == 0);
    CHECK(allocations_of([&] { any(with_context); }) == 0);
    CHECK(allocations_of([&] { any.with({.deadline = p.w.clock.now() + 1s})(f, 1); }) == 0);
}

TEST_CASE("a call inside of another allocates nothing", "[composition][allocations][H-CPP-21]") {
    const policies p;
    const auto guard = p.retry | p.breaker | p.timeout;

    CHECK(allocations_of([&] { guard([&] { guard([] {}); }); }) == 0);
    CHECK(allocations_of([&] { p.retry([&](rs::call_context& ctx) { p.breaker.with(ctx)([] {}); }); }) == 0);
}

TEST_CASE("hooks of the user's are not copied for a call", "[composition][allocations][H-CPP-21]") {
    world w;
    const std::string large(100, 'x');
    const rs::retry retry{
        {.retry_if = [large](const rs::failure& f) { return !f.is_rejection() && !large.empty(); },
         .delay_override = [large](unsigned, const rs::failure&) -> std::optional<rs::duration> {
             return 0ns;
         }},
        w.reg};
    const rs::circuit_breaker breaker{{.record_if = [large](const rs::failure&) { return !large.empty(); }},
                                      w.reg};
    const rs::timeout timeout{
        {.limit = 1s, .make_exception = [large](const rs::failure&) { return std::exception_ptr(); }}, w.reg};

    CHECK(allocations_of([&] { (retry | breaker | timeout)([] {}); }) == 0);
}

TEST_CASE("a rejection by value allocates nothing", "[composition][allocations]") {
    const policies p;
    const auto guard = p.retry | p.breaker | p.timeout;
    const rs::any_pipeline any(guard);
    p.breaker.force_open();
    using result = tl::expected<int, std::error_code>;

    CHECK(allocations_of([&] { (void)p.breaker.try_call([] {}); }) == 0);
    CHECK(allocations_of([&] { (void)p.breaker([] { return result(1); }); }) == 0);
    CHECK(allocations_of([&] { (void)guard.try_call([] {}); }) == 0);
    CHECK(allocations_of([&] { (void)guard([] { return result(1); }); }) == 0);
    CHECK(allocations_of([&] { (void)any.try_call([] {}); }) == 0);
}

TEST_CASE("retries of failing values allocate nothing", "[composition][allocations]") {
    world w;
    const rs::retry retry{support::at_once(3), w.reg};
    const auto guard = retry | rs::timeout(1s, w.reg);
    int n = 0;
    const auto third_succeeds = [&] {
        return ++n % 3 == 0 ? std::error_code() : std::make_error_code(std::errc::io_error);
    };

    CHECK(allocations_of([&] { (void)retry.try_call(third_succeeds); }) == 0);
    n = 0;
    CHECK(allocations_of([&] { (void)guard.try_call(third_succeeds); }) == 0);
}

TEST_CASE("a circuit that counts failures with codes of the standard allocates nothing",
          "[composition][allocations]") {
    world w;
    const rs::circuit_breaker breaker({.consecutive_failures = 1'000'000}, w.reg);
    const auto fails = [] { return std::make_error_code(std::errc::io_error); };
    (void)breaker(fails); // keeps the name of the type
    const std::size_t before = allocations_of_this_thread;

    for (int i = 0; i < 100; ++i) (void)breaker(fails);

    CHECK(allocations_of_this_thread == before);
}

TEST_CASE("retries of exceptions allocate nothing but these", "[composition][allocations][H-USE-15]") {
    world w;
    const rs::retry retry{support::at_once(3), w.reg};
    int n = 0;

    CHECK(allocations_of([&] {
              retry([&] {
                  if (++n % 3 != 0) throw n;
              });
          }) == 0);
}

TEST_CASE("windows and budgets take no more memory, however many results they see",
          "[composition][allocations][H-WIN-13]") {
    rs::failure_window failures{5, 1h};
    rs::count_tally counted{100};
    rs::time_buckets buckets{1h};
    rs::percent_budget budget{{}};
    std::uint64_t seen = 0;
    const auto record = [&] {
        for (int i = 0; i < 100'000; ++i, ++seen) {
            const rs::time_point now{std::chrono::milliseconds{seen}};
            failures.record(now);
            counted.record(seen, {.failed = true, .slow = true});
            buckets.record(buckets.number_at(now), 1, 1, 1);
            budget.deposit(1, 1ms, now);
            (void)budget.withdraw(now);
        }
    };

    CHECK(allocations_of(record) == 0);
}

TEST_CASE("without memory for its windows an update changes nothing of a circuit",
          "[composition][allocations]") {
    world w;
    const rs::circuit_breaker breaker({.failure_threshold = 2}, w.reg);
    (void)breaker.try_call([]() -> int { throw 1; });
    (void)breaker.name(); // makes what a process has once
    const rs::circuit_breaker_config by_rate{.failure_rate_threshold = 0.5, .window = rs::time_window{10s}};

    for (std::size_t fails = 0;; ++fails) {
        REQUIRE(fails < 100);
        bool threw = false;
        allocations_left = fails;
        try {
            breaker.update(by_rate);
        } catch (const std::bad_alloc&) {
            threw = true;
        }
        allocations_left = std::numeric_limits<std::size_t>::max();
        if (!threw) break;
        CHECK(breaker.config().failure_threshold == 2U);
        CHECK(breaker.stats().failure_count == 1);
        CHECK(breaker.stats().failure_threshold == 2);
    }
    CHECK(breaker.config().failure_rate_threshold == 0.5);
    CHECK(breaker.stats().failure_threshold == 0);
}

TEST_CASE("policies take no more memory than this until a second thread comes",
          "[composition][allocations][H-WIN-14]") {
    world w;
    // libc++ gives a function 48 bytes, others 32: the difference is not the policy's.
    constexpr std::size_t of_a_function = sizeof(std::function<void()>) - 32;
    const auto guarded = [&](rs::circuit_breaker_config config) {
        return bytes_of([&] { const rs::circuit_breaker breaker(config, w.reg); });
    };

    CHECK(guarded({}) <= 1368 + 6 * of_a_function);
    // It aligns them to 16 bytes, others to 8: likewise the room between members.
    constexpr std::size_t of_a_gap = of_a_function > 0 ? 8 : 0;
    CHECK(bytes_of([&] { const rs::retry retry({}, w.reg); }) <= 1072 + 2 * of_a_function + 3 * of_a_gap);
    CHECK(bytes_of([&] { const rs::timeout timeout(1s, w.reg); }) <= 584 + of_a_function + of_a_gap);

    SECTION("a circuit has a window of results from the config on that judges rates") {
        const std::size_t least = guarded({});
        CHECK(guarded({.window = rs::time_window{10s}}) == least);
        CHECK(guarded({.failure_rate_threshold = 0.5}) > least);
        CHECK(guarded({.failure_rate_threshold = 0.5, .window = rs::time_window{10s}}) > least);
    }
}

TEST_CASE("calls under one long-lived stop token leave nothing with it",
          "[composition][allocations][H-TO-10]") {
    const policies p;
    const auto guard = p.retry | p.timeout;
    std::stop_source stop;
    const auto call = [&] {
        guard.with({.stop_token = stop.get_token()})([](rs::call_context& ctx) { (void)ctx.stop_token(); });
    };

    const std::size_t each = allocations_of(call); // a timer for the deadline, and its link to the token
    for (int i = 0; i < 1'000; ++i) call();

    CHECK(allocations_of(call) == each);
    CHECK(each <= 10);
    CHECK(p.w.clock.pending_timers() == 0);
}

/// Calls with each of its allocations on this thread failing in turn, and at last with none. The answer must be right
/// every time, and an event either heard or counted as lost.
template <class Call, class Right>
void whichever_allocation_fails(rs::registry& reg, std::uint64_t events_of_a_call, Call call,
                                Right is_right) {
    std::uint64_t heard = 0;
    const auto listening = reg.subscribe([&heard](const rs::event&) { ++heard; });
    for (std::size_t fails = 0;; ++fails) {
        INFO("allocation " << fails);
        REQUIRE(fails < 1'000);
        heard = 0;
        const auto errors = reg.listener_errors();
        bool threw = false;
        std::optional<std::invoke_result_t<Call&>> answer;
        allocations_left = fails;
        try {
            answer.emplace(call());
        } catch (...) {
            threw = true;
        }
        const bool failed = allocations_left > fails;
        allocations_left = std::numeric_limits<std::size_t>::max();
        REQUIRE_FALSE(threw);
        CHECK(is_right(*answer));
        CHECK(heard + reg.listener_errors() - errors == events_of_a_call);
        if (!failed) {
            CHECK(fails > 0);
            CHECK(heard == events_of_a_call);
            return;
        }
    }
}

TEST_CASE("without memory an event is lost, not the call, whichever policy tells of it",
          "[composition][allocations]") {
    world w;
    const std::string name = "a name that is too long for the small string optimisation";
    const auto fails = []() -> int { throw 1; };
    const auto threw_int = [](const rs::outcome<int>& out) {
        return out.has_failure() && out.error().as<int>();
    };
    const auto has_code = [](rs::errc code) {
        return
            [code](const rs::outcome<int>& out) { return out.has_failure() && out.error().code() == code; };
    };
    const rs::circuit_breaker breaker({.name = name, .failure_threshold = 1}, w.reg);

    SECTION("a retry") {
        const rs::retry retry({.name = name, .max_attempts = 2, .base_delay = 0s}, w.reg);
        whichever_allocation_fails(w.reg, 4, [&] { return retry.named(name).try_call(fails); }, threw_int);
        CHECK(retry.stats().failed_attempts % 2 == 0);
    }
    SECTION("a circuit that refuses") {
        breaker.force_open();
        whichever_allocation_fails(
            w.reg, 1, [&] { return breaker.named(name).try_call(fails); }, has_code(rs::errc::circuit_open));
        whichever_allocation_fails(
            w.reg, 1, [&] { return breaker.try_acquire().has_value(); }, std::logical_not<>());
    }
    SECTION("a circuit that trips") {
        int told = 0;
        const rs::circuit_breaker tripping(
            {.failure_threshold = 1, .on_state_change = [&told](const rs::event&) { ++told; }}, w.reg);
        whichever_allocation_fails(
            w.reg, 2, // with the one of the reset
            [&] {
                auto out = tripping.try_call(fails);
                if (tripping.state() == rs::circuit_state::open) tripping.reset();
                return out;
            },
            threw_int);
        CHECK(told > 0);
    }
    SECTION("a timeout") {
        const rs::timeout limit({.name = name, .limit = 1s}, w.reg);
        whichever_allocation_fails(
            w.reg, 1,
            [&] {
                return limit.named(name).try_call([&w] {
                    w.clock.advance(2s);
                    return 1;
                });
            },
            has_code(rs::errc::timed_out));
    }
    SECTION("a fallback") {
        const auto guard = rs::fallback(7) | rs::timeout(1s, w.reg);
        whichever_allocation_fails(
            w.reg, 1, [&] { return guard.named(name).try_call(fails); },
            [](const rs::outcome<int>& out) { return out.has_value() && out.value() == 7; });
    }
    SECTION("an abandoning timeout that refuses") {
        const rs::abandoning_timeout limit({.name = name, .limit = 1s, .max_abandoned = 1}, w.reg);
        std::latch go_on(1);
        (void)limit.try_call([&] {
            w.clock.advance(1s);
            go_on.wait();
        });
        whichever_allocation_fails(
            w.reg, 1, [&] { return limit.named(name).try_call(fails); },
            has_code(rs::errc::workers_exhausted));
        go_on.count_down();
        while (limit.stats().abandoned_running > 0) std::this_thread::yield();
    }
    SECTION("an update") {
        const rs::timeout limit({.name = name, .limit = 1s}, w.reg);
        const rs::timeout_config next{.name = name, .limit = 2s};
        std::uint64_t heard = 0;
        const auto listening = w.reg.subscribe([&heard](const rs::event&) { ++heard; });
        for (std::size_t fail = 0; heard == 0; ++fail) {
            REQUIRE(fail < 100);
            limit.update({.name = name, .limit = 1s});
            heard = 0;
            auto config = next;
            bool threw = false;
            allocations_left = fail;
            try {
                limit.update(std::move(config));
            } catch (...) {
                threw = true;
            }
            allocations_left = std::numeric_limits<std::size_t>::max();
            CHECK(threw == (limit.config().limit == 1s)); // an update that was made is no failure
        }
    }
}

/// Keeps a worker until it is let go.
struct busy final : rs::detail::worker_pool::job {
    explicit busy(std::shared_ptr<std::latch> until) : until_(std::move(until)) {}
    void run() override { until_->wait(); }
    void tell() noexcept override {}
    std::shared_ptr<std::latch> until_;
};

TEST_CASE("without memory for it an attempt of an abandoning timeout is refused, or has no copy",
          "[composition][allocations]") {
    world w;
    const std::string name = "a name that is too long for the small string optimisation";
    const rs::abandoning_timeout limit({.name = name, .limit = 1s}, w.reg);
    const auto listening = w.reg.subscribe([](const rs::event&) {});
    auto& pool = rs::detail::worker_pool::instance();
    const auto let_go = std::make_shared<std::latch>(1);
    const auto settle = [&] {
        while (limit.stats().abandoned_running > 0) std::this_thread::yield();
    };
    std::size_t refused = 0;
    bool failed = true;
    for (std::size_t fails = 0; failed; ++fails) {
        INFO("allocation " << fails);
        REQUIRE(fails < 1'000);
        while (pool.idle() > 0) pool.start(std::make_shared<busy>(let_go)); // the attempt needs a new one
        bool threw = false;
        std::optional<rs::outcome<int>> answer;
        allocations_left = fails;
        try {
            answer.emplace(limit.named(name).try_call([&w] {
                w.clock.advance(1s);
                return 1;
            }));
        } catch (...) {
            threw = true;
        }
        failed = allocations_left > fails;
        allocations_left = std::numeric_limits<std::size_t>::max();
        settle();
        REQUIRE_FALSE(threw);
        REQUIRE(answer->has_failure());
        const auto code = answer->error().code();
        const bool no_copy = answer->error().as<std::bad_alloc>() != nullptr;
        if (code == rs::errc::workers_exhausted) ++refused;
        else CHECK((no_copy || code == rs::errc::timed_out));
        if (!failed) CHECK(code == rs::errc::timed_out);
    }
    let_go->count_down();
    CHECK(refused > 0);
    CHECK(limit.stats().rejected == refused);
}

TEST_CASE("without memory a bulkhead loses no place, whichever allocation fails",
          "[composition][allocations][H-BH-03]") {
    world w;
    const rs::bulkhead guard({.name = "a name that is too long for the small string optimisation",
                              .max_concurrent = 1,
                              .max_queue = 1,
                              .max_wait = 1s},
                             w.reg);
    const auto listening = w.reg.subscribe([](const rs::event&) {});
    for (const bool gets_place : {true, false}) {
        bool failed = true;
        for (std::size_t fails = 0; failed; ++fails) {
            INFO("allocation " << fails);
            REQUIRE(fails < 1'000);
            auto held = guard.try_acquire();
            REQUIRE(held);
            const auto gives =
                w.clock.call_at(w.clock.now() + (gets_place ? 500ms : 2s), [&] { held.reset(); });
            bool ran = false;
            allocations_left = fails;
            try {
                (void)guard.try_call([&] { // waits
                    ran = true;
                    return guard.try_acquire().has_value(); // is refused
                });
            } catch (const std::bad_alloc&) {}
            failed = allocations_left > fails;
            allocations_left = std::numeric_limits<std::size_t>::max();
            if (!failed) CHECK(ran == gets_place);
            held.reset();
            CHECK(guard.stats().running == 0);
            CHECK(guard.stats().queued == 0);
        }
    }
    CHECK(guard.try_acquire());
}

TEST_CASE("without memory a subscription still ends", "[allocations]") {
    world w;
    int heard = 0;
    auto listening = w.reg.subscribe([&heard](const rs::event&) { ++heard; });

    out_of_memory = true;
    listening.end();
    out_of_memory = false;
    (void)rs::retry({.name = "r", .max_attempts = 1}, w.reg).try_call([] { throw 1; });

    CHECK(heard == 0);
}

TEST_CASE("an alert that there was no memory for is sent later, whichever allocation failed",
          "[alert_sink]") {
    world w;
    unsigned sent = 0;
    rs::alert_sink sink(w.reg, {.delivery = rs::alert_delivery::by_hand}, [&](const rs::alert&) { ++sent; });
    const rs::event e{.kind = rs::event_kind::call_abandoned,
                      .policy_kind = "abandoning_timeout",
                      .policy = "a name that is too long for the small string optimisation"};
    for (std::size_t fails = 0;; ++fails) {
        INFO("allocation " << fails);
        REQUIRE(fails < 1'000);
        w.clock.advance(1h);
        w.reg.env()->publish(e);
        sent = 0;
        allocations_left = fails;
        bool threw = false;
        try {
            (void)sink.deliver_due();
        } catch (const std::bad_alloc&) {
            threw = true;
        }
        const bool failed = allocations_left > fails;
        allocations_left = std::numeric_limits<std::size_t>::max();
        w.clock.advance(1h);
        (void)sink.deliver_due();

        CHECK(sent == 1);
        CHECK(sink.flush(0s));
        CHECK(sink.stats().waiting == 0);
        if (!failed) {
            CHECK_FALSE(threw);
            break;
        }
    }
}

} // namespace
