// expect: predicate
// most lines: 14
// A predicate is asked about a failure; by itself it is neither true nor false.
#include <resilience/call/predicate.hpp>

#include <stdexcept>

int main() {
    const auto p = resilience::on<std::runtime_error>();
#ifdef CONTROL
    return p.has_value() ? 0 : 1;
#else
    return p ? 0 : 1;
#endif
}
