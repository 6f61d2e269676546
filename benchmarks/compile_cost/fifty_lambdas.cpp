// SPDX-License-Identifier: Apache-2.0
// Fifty different lambdas under one pipeline: what wrapping costs a file in compile time and size.
// `./run bench` compiles it with and without -DBARE.
#include <resilience/resilience.hpp>

namespace {

int work(int x) {
    asm volatile("" ::"r"(x));
    return x + 1;
}

template <int N>
int call(
    const resilience::pipeline<resilience::retry, resilience::circuit_breaker, resilience::timeout>& guard) {
    auto f = [] { return work(N); };
#if defined(BARE)
    return f() + static_cast<int>(sizeof guard);
#else
    return guard(f);
#endif
}

template <int... N>
int call_all(
    const resilience::pipeline<resilience::retry, resilience::circuit_breaker, resilience::timeout>& guard,
    std::integer_sequence<int, N...>) {
    return (call<N>(guard) + ...);
}

} // namespace

int fifty( // NOLINT(misc-use-internal-linkage): else nothing of this file would be compiled
    const resilience::pipeline<resilience::retry, resilience::circuit_breaker, resilience::timeout>& guard) {
    return call_all(guard, std::make_integer_sequence<int, 50>{});
}
