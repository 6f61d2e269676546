// expect: resilience: find<P>(name) needs a policy with a config
// most lines: 19
#include <resilience/registry.hpp>
#include <resilience/retry.hpp>

int main() {
#ifdef CONTROL
    const resilience::registry registry;
    return registry.find<resilience::retry>("jira") ? 0 : 1;
#else
    const resilience::registry registry;
    return registry.find<int>("jira") ? 0 : 1;
#endif
}
