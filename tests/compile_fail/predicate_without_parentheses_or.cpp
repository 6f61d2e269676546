// expect: resilience: a predicate is made of what takes a const failure& and returns bool
// most lines: 19
#include <resilience/call/predicate.hpp>

int main() {
#ifdef CONTROL
    const resilience::predicate p = resilience::default_rule() || resilience::on<int>();
    return p.has_value() ? 0 : 1;
#else
    const resilience::predicate p = resilience::default_rule || resilience::on<int>();
    return p.has_value() ? 0 : 1;
#endif
}
