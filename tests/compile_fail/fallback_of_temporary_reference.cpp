// expect: resilience: the call returns a reference, and what the fallback gives may be gone before it
// most lines: 19
// [H-CPP-08] The value that a fallback stores goes with the last copy of the policy, which may be a temporary.
#include <resilience/fallback.hpp>

#include <functional>

int main() {
    int kept = 7;
#ifdef CONTROL
    const auto guard = resilience::fallback(std::ref(kept));
#else
    const auto guard = resilience::fallback(kept);
#endif
    guard([&]() -> const int& { return kept; });
}
