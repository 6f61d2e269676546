// expect: resilience: a callable that returns an rvalue reference would leave it dangling
// most lines: 14
// [H-CPP-08]
#include <resilience/timeout.hpp>

#include <chrono>
#include <string>
#include <utility>

int main() {
    const resilience::timeout timeout(std::chrono::seconds{1});
    std::string text = "x";
#ifdef CONTROL
    timeout([&]() -> std::string& { return text; });
#else
    timeout([&]() -> std::string&& { return std::move(text); });
#endif
}
