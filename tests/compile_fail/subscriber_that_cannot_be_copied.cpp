// expect: resilience: it takes a const event&, and can be copied
// most lines: 19
#include <resilience/registry.hpp>

#include <memory>

int main() {
#ifdef CONTROL
    resilience::registry registry;
    const auto subscribed = registry.subscribe([](const resilience::event&) {});
#else
    resilience::registry registry;
    const auto subscribed = registry.subscribe([p = std::make_unique<int>(1)](const resilience::event&) {});
#endif
}
