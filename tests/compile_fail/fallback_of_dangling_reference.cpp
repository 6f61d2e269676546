// expect: resilience: the call returns a reference, and what the fallback gives may be gone before it
// most lines: 19
// [H-CPP-08] A string that was made for the answer would be gone, although a const std::string& can refer to it.
#include <resilience/fallback.hpp>

#include <string>

int main() {
    const std::string kept = "none";
#ifdef CONTROL
    const auto guard = resilience::fallback([&]() -> const std::string& { return kept; });
#else
    const auto guard = resilience::fallback([&] { return kept; });
#endif
    guard([&]() -> const std::string& { return kept; });
}
