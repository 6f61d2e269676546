// expect: resilience: the callable cannot be called with these arguments as lvalues
// most lines: 14
#include <resilience/retry.hpp>

#include <string>
#include <utility>

int main() {
    const resilience::retry retry;
    std::string text = "x";
#ifdef CONTROL
    retry([](const std::string&) {}, std::move(text));
#else
    retry([](std::string&&) {}, std::move(text));
#endif
}
