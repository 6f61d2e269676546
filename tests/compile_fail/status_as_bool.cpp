// expect: resilience: http_status_of(const R&) must give an int or a std::optional<int>
// most lines: 19
#include <resilience/retry.hpp>

struct reply {
    int status = 0;
};
#ifdef CONTROL
inline int http_status_of(const reply& r) { return r.status; }
#else
inline bool http_status_of(const reply& r) { return r.status == 200; }
#endif

int main() {
    const resilience::retry retry;
    return retry([] { return reply{200}; }).status + retry.try_call([] { return reply{200}; })->status;
}
