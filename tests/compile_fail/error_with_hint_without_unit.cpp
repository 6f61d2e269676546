// expect: resilience: retry_after_of(const R&) must give a resilience::duration
// most lines: 19
// The error in a result is asked as a value would be.
#include <resilience/retry.hpp>

#include <chrono>

struct problem {};
#ifdef CONTROL
inline resilience::duration retry_after_of(const problem&) { return std::chrono::seconds{5}; }
#else
inline long retry_after_of(const problem&) { return 5; }
#endif
struct result {
    bool has_value() const { return true; }
    problem error() const { return {}; }
};

int main() {
    const resilience::retry retry;
    return retry([] { return result{}; }).has_value() ? 0 : 1;
}
