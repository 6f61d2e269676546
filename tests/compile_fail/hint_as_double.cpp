// expect: resilience: retry_after_of(const R&) must give a resilience::duration
// most lines: 19
#include <resilience/retry.hpp>

#include <chrono>
#include <optional>

struct reply {
    int status = 0;
};
inline std::optional<int> http_status_of(const reply& r) { return r.status; }
#ifdef CONTROL
inline std::optional<resilience::duration> retry_after_of(const reply&) { return std::chrono::seconds{5}; }
#else
inline std::optional<double> retry_after_of(const reply&) { return 5.0; }
#endif

int main() {
    const resilience::retry retry;
    return retry([] { return reply{200}; }).status + retry.try_call([] { return reply{200}; })->status;
}
