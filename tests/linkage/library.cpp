// SPDX-License-Identifier: Apache-2.0
// Somebody's shared library that uses resilience. Built twice; LIBRARY is its name. All its symbols are hidden
// but these functions.
#include <resilience/resilience.hpp>

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED const void* JOIN(LIBRARY, _registry)();
EXPORTED void JOIN(LIBRARY, _adopt)(void* registry);
EXPORTED void JOIN(LIBRARY, _call)(const char* name);
EXPORTED void JOIN(LIBRARY, _write)(void* readers);

const void* JOIN(LIBRARY, _registry)() { return &resilience::registry::global(); }

void JOIN(LIBRARY, _adopt)(void* registry) {
    resilience::registry::adopt_global(*static_cast<resilience::registry*>(registry));
}

void JOIN(LIBRARY, _call)(const char* name) {
    const resilience::circuit_breaker breaker({.name = name});
    breaker([] {});
}

void JOIN(LIBRARY, _write)(void* readers) {
    const resilience::detail::striped_readers::writing alone(
        *static_cast<resilience::detail::striped_readers*>(readers));
}
