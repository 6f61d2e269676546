// expect: resilience: idempotency_of(const R&) must be noexcept and give a
// most lines: 19
#include <resilience/retry.hpp>

#include <optional>

struct reply {
    int status = 0;
};
inline std::optional<int> http_status_of(const reply& r) { return r.status; }
#ifdef CONTROL
inline resilience::idempotency idempotency_of(const reply&) noexcept {
    return resilience::idempotency::unsafe;
}
#else
inline bool idempotency_of(const reply&) noexcept { return false; }
#endif

int main() {
    const resilience::retry retry;
    return retry([] { return reply{200}; }).status + retry.try_call([] { return reply{200}; })->status;
}
