// expect: resilience: on<E>(f): f must take a const E& and return bool
// most lines: 19
#include <resilience/call/predicate.hpp>

#include <stdexcept>

int main() {
#ifdef CONTROL
    const auto p = resilience::on<std::runtime_error>([](const std::runtime_error&) { return true; });
    return p.has_value() ? 0 : 1;
#else
    const auto p = resilience::on<std::runtime_error>([](int) { return true; });
    return p.has_value() ? 0 : 1;
#endif
}
