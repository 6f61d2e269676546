// expect: resilience: a budget is made by retry_budget(percent_budget_config{...})
// most lines: 16
#include <resilience/retry.hpp>

namespace rs = resilience;
using namespace std::chrono_literals;

int main() {
#ifdef CONTROL
    const rs::retry_config config{.budget = rs::retry_budget::unlimited()};
#else
    const rs::retry_config config{.budget = 0.2};
#endif
    return static_cast<int>(config.max_attempts);
}
