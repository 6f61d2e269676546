// expect: resilience: was_not_sent(const R&) must be noexcept and give a bool
// most lines: 19
#include <resilience/retry.hpp>

#include <optional>

struct reply {
    int status = 0;
};
inline std::optional<int> http_status_of(const reply& r) { return r.status; }
#ifdef CONTROL
inline bool was_not_sent(const reply& r) noexcept { return r.status == 0; }
#else
inline bool was_not_sent(const reply& r) { return r.status == 0; }
#endif

int main() {
    const resilience::retry retry;
    return retry([] { return reply{200}; }).status + retry.try_call([] { return reply{200}; })->status;
}
