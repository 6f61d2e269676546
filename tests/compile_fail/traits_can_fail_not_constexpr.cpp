// expect: resilience: a specialisation of result_traits<R> needs `static constexpr bool can_fail` and the static functions
// most lines: 19
#include <resilience/circuit_breaker.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>

#include <string>
#include <system_error>

struct answer {
    int n = 0;
};
template <>
struct resilience::result_traits<answer> {
#ifdef CONTROL
    static constexpr bool can_fail = true;
#else
    static inline bool can_fail = true;
#endif
    static verdict judge(const answer&) { return verdict::success; }
    static std::error_code code(const answer&) { return {}; }
    static std::string message(const answer&) { return {}; }
};

int main() {
    const auto guard = resilience::retry() | resilience::circuit_breaker();
    return guard([] { return answer{}; }).n + guard.try_call([] { return answer{}; })->n;
}
