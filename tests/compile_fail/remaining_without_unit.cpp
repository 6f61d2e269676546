// expect: resilience: remaining_as<D>(cap) takes a unit and a cap of std::chrono
// most lines: 19
#include <resilience/retry.hpp>

#include <chrono>

int main() {
#ifdef CONTROL
    const resilience::retry retry;
    return retry([](resilience::call_context& ctx) {
               return ctx.remaining_as<std::chrono::seconds>(std::chrono::seconds{5});
           }) > std::chrono::seconds{0}
               ? 0
               : 1;
#else
    const resilience::retry retry;
    return retry([](resilience::call_context& ctx) { return ctx.remaining_as<int>(); }) > 0 ? 0 : 1;
#endif
}
