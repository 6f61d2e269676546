// expect: on_result<R>(f): f must take a const R& and return bool
// most lines: 14
#include <resilience/call/predicate.hpp>

#include <string>

int main() {
#ifdef CONTROL
    const auto p = resilience::on_result<std::string>([](const std::string& s) { return s.empty(); });
#else
    const auto p = resilience::on_result<int>([](const std::string& s) { return s.empty(); });
#endif
    return p.has_value() ? 0 : 1;
}
