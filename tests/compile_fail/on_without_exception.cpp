// expect: resilience: on<E>() and on<E>(f) need the type of an exception
// most lines: 19
#include <resilience/call/predicate.hpp>

#include <stdexcept>

int main() {
#ifdef CONTROL
    const auto p = resilience::on<std::runtime_error>();
    return p.has_value() ? 0 : 1;
#else
    const auto p = resilience::on(std::runtime_error("x"));
    return p.has_value() ? 0 : 1;
#endif
}
