// expect: resilience: this is no bulkhead_config
// most lines: 14
#include <resilience/bulkhead.hpp>

int main() {
#ifdef CONTROL
    const resilience::bulkhead guard({.max_queue = 2});
#else
    const resilience::bulkhead guard({.max_qeue = 2});
#endif
}
