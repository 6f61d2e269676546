// expect: resilience: a result that cannot move is available through try_call only
// most lines: 14
// [H-CPP-07]
#include <resilience/retry.hpp>

struct pinned {
    pinned() = default;
    pinned(const pinned&) = delete;
    pinned& operator=(const pinned&) = delete;
};

int main() {
    const resilience::retry retry;
#ifdef CONTROL
    const auto o = retry.try_call([] { return pinned(); });
    return o.has_value() ? 0 : 1;
#else
    retry([] { return pinned(); });
#endif
}
