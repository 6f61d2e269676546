// SPDX-License-Identifier: Apache-2.0
// Two shared libraries built with -fvisibility=hidden, and an executable that knows both: how many global
// registries are there? One, in each of the linkages that CMakeLists.txt builds.
#include <resilience/resilience.hpp>

#include <cstdio>

extern "C" {
const void* one_registry();
const void* two_registry();
void one_call(const char* name);
void two_call(const char* name);
}

namespace {

bool holds(bool condition, const char* what) {
    std::printf("[H-CPP-02] %s: %s\n", condition ? "holds" : "FAILS", what);
    return condition;
}

} // namespace

int main() {
    auto& registry = resilience::registry::global();
    one_call("shared");
    two_call("shared");
    const auto breaker = registry.circuit_breaker("shared");

    bool passed = holds(one_registry() == two_registry(), "the libraries share one global registry");
    passed &= holds(one_registry() == &registry, "and it is the executable's");
    passed &= holds(registry.circuit_breakers().size() == 1, "one name is one breaker");
    passed &= holds(breaker && breaker->calls == 2, "which has seen the calls of both");
    return passed ? 0 : 1;
}
