// expect: resilience: it is kept, and this one can only be moved
// most lines: 19
#include <resilience/fallback.hpp>

#include <memory>
#include <utility>

int main() {
#ifdef CONTROL
    auto answer = std::make_unique<int>(1);
    const auto guard = resilience::fallback(std::move(answer));
#else
    auto answer = std::make_unique<int>(1);
    const auto guard = resilience::fallback(answer);
#endif
}
