// expect: call_view
// most lines: 14
// A view borrows its policy, its name and its options: it is for the one call that follows.
#include <resilience/retry.hpp>

int main() {
    const resilience::retry retry;
#ifdef CONTROL
    retry.named("search")([] {});
#else
    const auto view = retry.named("search");
    view([] {});
#endif
}
