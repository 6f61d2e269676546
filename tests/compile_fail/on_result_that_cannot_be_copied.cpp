// expect: resilience: on_result<R>(f): f must take a const R& and return bool, and can be copied
// most lines: 19
#include <resilience/call/predicate.hpp>

#include <memory>

int main() {
#ifdef CONTROL
    const auto p = resilience::on_result<int>([](int) { return true; });
    return p.has_value() ? 0 : 1;
#else
    const auto p = resilience::on_result<int>([p = std::make_unique<int>(1)](int) { return true; });
    return p.has_value() ? 0 : 1;
#endif
}
