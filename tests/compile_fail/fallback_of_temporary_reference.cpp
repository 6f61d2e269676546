// expect: resilience: the fallback gives no value that the call's result can be made of
// [H-CPP-08] A reference to the fallback's own temporary would dangle.
#include <resilience/fallback.hpp>

#include <functional>

int main() {
    int kept = 7;
#ifdef CONTROL
    const auto guard = resilience::fallback(std::ref(kept));
#else
    const auto guard = resilience::fallback(kept);
#endif
    guard([&]() -> int& { return kept; });
}
