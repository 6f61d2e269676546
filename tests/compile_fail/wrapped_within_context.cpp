// expect: resilience: a callable made by with(context).wrap() may outlive the context
// most lines: 14
// A wrapped callable is kept; the context that it would be within is gone by then.
#include <resilience/retry.hpp>

int main() {
    const resilience::retry outer;
    const resilience::retry inner;
    outer([&](resilience::call_context& ctx) {
#ifdef CONTROL
        inner.with(ctx)([] {});
        inner.wrap([] {})();
#else
        inner.with(ctx).wrap([] {})();
#endif
    });
}
