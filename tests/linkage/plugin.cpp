// SPDX-License-Identifier: Apache-2.0
// A library loaded with RTLD_LOCAL joins the executable's registry by adopt_global.
#include <resilience/resilience.hpp>

#include <dlfcn.h>

#include <cstdio>

namespace {

template <class F>
F* function(void* library, const char* name) {
    return reinterpret_cast<F*>(dlsym(library, name));
}

} // namespace

int main() {
    void* const library = dlopen(PLUGIN, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        std::printf("dlopen: %s\n", dlerror());
        return 1;
    }
    auto& registry = resilience::registry::global();

    function<void(void*)>(library, "one_adopt")(&registry);
    function<void(const char*)>(library, "one_call")("plugin");

    const auto breaker = registry.circuit_breaker("plugin");
    const bool passed = breaker && breaker->calls == 1;
    std::printf("[H-CPP-02] %s: a plugin adopts the executable's registry\n", passed ? "holds" : "FAILS");
    return passed ? 0 : 1;
}
