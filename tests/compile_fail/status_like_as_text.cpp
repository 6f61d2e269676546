// expect: resilience: a type with enable_status_like needs a function `bool ok() const`
// most lines: 19
#include <resilience/retry.hpp>

#include <string>

struct status {
    int number = 0;
#ifdef CONTROL
    bool ok() const { return number == 0; }
#else
    std::string ok() const { return number == 0 ? "yes" : "no"; }
#endif
};
template <>
inline constexpr bool resilience::enable_status_like<status> = true;

int main() {
    const resilience::retry retry;
    return retry([] { return status{}; }).number;
}
