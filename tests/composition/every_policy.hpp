// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/any_pipeline.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/fallback.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>

#include "support/world.hpp"

#include <chrono>
#include <type_traits>

namespace support {

/// Calls check(guard) for every policy alone and for pipelines of them. The fallback is of no use here:
/// nothing fails; it must only let everything through.
template <class Check>
void with_every_policy(Check check) {
    world w;
    const resilience::retry retry{plain(2), w.reg};
    const resilience::circuit_breaker breaker{{.failure_threshold = 1'000}, w.reg}; // never trips here
    const resilience::timeout timeout{std::chrono::seconds{1}, w.reg};

    check(retry);
    check(breaker);
    check(timeout);
    check(retry | breaker | timeout);
    check(resilience::any_pipeline(retry, breaker, timeout));
    check(resilience::fallback([] {}) | retry, std::true_type{});
}
/// check(guard) where the result is not void: a fallback to nothing is left out.
template <class Check>
void with_each(Check check) {
    with_every_policy([&]<class G, class... Void>(const G& guard, Void...) {
        if constexpr (sizeof...(Void) == 0) check(guard);
    });
}

/// A result, or an argument, that cannot be moved.
struct pinned {
    explicit pinned(int n) : number(n) {}
    pinned(const pinned&) = delete;
    pinned& operator=(const pinned&) = delete;
    int number;
};

} // namespace support
