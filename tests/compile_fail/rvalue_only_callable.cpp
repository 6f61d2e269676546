// expect: resilience: the callable cannot be called with these arguments as lvalues
// most lines: 14
// [H-CPP-07] A callable that can be called once only cannot be tried again.
#include <resilience/retry.hpp>

struct once {
#ifdef CONTROL
    void operator()() & {}
#else
    void operator()() && {}
#endif
};

int main() {
    const resilience::retry retry;
    retry(once{});
}
