// expect: resilience: http_status_of(const R&) must give an int or a std::optional<int>
// most lines: 19
// A result is const where it is asked.
#include <resilience/retry.hpp>

struct reply {
    int status = 0;
};
#ifdef CONTROL
inline int http_status_of(const reply& r) { return r.status; }
#else
inline int http_status_of(reply& r) { return r.status; }
#endif

int main() {
    const resilience::retry retry;
    return retry([] { return reply{200}; }).status + retry.try_call([] { return reply{200}; })->status;
}
