// expect: resilience: a registry is made with a time_source
// most lines: 19
#include <resilience/registry.hpp>

int main() {
#ifdef CONTROL
    const resilience::registry registry{resilience::system_time()};
#else
    const resilience::registry registry{5};
#endif
}
