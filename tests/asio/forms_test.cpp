// SPDX-License-Identifier: Apache-2.0
// Every way to await a call that docs/coroutines.md calls safe, for AddressSanitizer to look at: g++ 12.2 destroys
// some temporaries of a co_await expression twice.
#include <resilience/resilience.hpp>

#include "asio/net.hpp"
#include "support/catch.hpp"

#include <chrono>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>

namespace rs = resilience;
using namespace std::chrono_literals;
using support::net_world;
using support::plain;
using support::started;

namespace {

net::awaitable<std::string> echo(const std::string& text) { co_return text; }
net::awaitable<std::string> long_answer() { co_return std::string(100, 'x'); }

} // namespace

TEST_CASE("every documented form of an awaited call is safe", "[asio][forms]") {
    net_world w;
    const bool limited = GENERATE(false, true); // spawned, or awaited in place
    const rs::any_pipeline guard =
        limited ? rs::any_pipeline{rs::retry(plain(), w.reg), rs::circuit_breaker({}, w.reg),
                                   rs::timeout(1s, w.reg)}
                : rs::any_pipeline{rs::retry(plain(), w.reg), rs::circuit_breaker({}, w.reg)};
    const auto pipeline = rs::retry(plain(), w.reg) | rs::circuit_breaker({}, w.reg) | rs::timeout(1s, w.reg);
    const std::string text(100, 'x');
    const auto held = std::make_shared<int>(1);
    const auto all = [&]() -> net::awaitable<std::size_t> {
        std::size_t length = 0;
        // A task with a name, whatever it was made of.
        auto named = guard([text, held]() -> net::awaitable<std::string> { co_return text; });
        length += (co_await std::move(named)).size();
        auto with_options =
            guard.with({.deadline = w.clock.now() + 1s, .stop_token = std::stop_token()})(echo, text);
        length += (co_await std::move(with_options)).size();
        auto of_wrapped = pipeline.wrap([text, held]() -> net::awaitable<std::string> { co_return text; })();
        length += (co_await std::move(of_wrapped)).size();
        // At once: callables with a name, functions, lambdas that capture nothing or references.
        const auto own = [text, held]() -> net::awaitable<std::string> { co_return text; };
        length += (co_await guard(own)).size();
        auto given = [text, held]() -> net::awaitable<std::string> { co_return text; };
        length += (co_await guard(std::move(given))).size();
        length += (co_await guard(echo, text)).size();
        length += (co_await guard(echo, std::string(100, 'x'))).size();
        auto of_literal = guard.named("op").try_call(echo, "more characters than a small string holds");
        length += (co_await std::move(of_literal))->size() + 100 - 41;
        length += (co_await guard(echo, "more characters than a small string holds")).size() + 100 - 41;
        length += (co_await guard([] { return long_answer(); })).size();
        length += (co_await guard([&] { return echo(text); })).size();
        length += (co_await guard.named("op")(echo, text)).size();
        length += (co_await guard.with({.deadline = w.clock.now() + 1s})(echo, text)).size();
        const rs::call_options options{.deadline = w.clock.now() + 1s, .stop_token = std::stop_token()};
        length += (co_await guard.with(options)(echo, text)).size();
        const rs::call_options traced{.priority = rs::priority::low, .correlation = std::string(100, 'x')};
        length += (co_await guard.with(traced)(echo, text)).size();
        const auto outcome = co_await pipeline.try_call(echo, text);
        length += outcome->size();
        co_return length;
    };
    const started call(w, all());
    w.run();
    CHECK(call.result() == 16 * 100);
    CHECK(held.use_count() == 1);
}
