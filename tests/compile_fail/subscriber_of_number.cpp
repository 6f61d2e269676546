// expect: resilience: it takes a const event&, and can be copied
// most lines: 19
#include <resilience/registry.hpp>

int main() {
#ifdef CONTROL
    resilience::registry registry;
    const auto subscribed = registry.subscribe([](const resilience::event&) {});
#else
    resilience::registry registry;
    const auto subscribed = registry.subscribe([](int) {});
#endif
}
