// expect: resilience: the per-call object of this policy is too large
// most lines: 19
#include <resilience/any_pipeline.hpp>

template <int Size>
struct cap {
    struct call {
        resilience::admission admit(resilience::call_context&) { return resilience::admission::go(); }
        resilience::settlement settle(const resilience::attempt_result&, resilience::call_context&) {
            return resilience::settlement::finish();
        }
        char room[Size];
    };
    call begin(resilience::call_context&) const { return {}; }
};

int main() {
#ifdef CONTROL
    const resilience::any_pipeline guard{cap<152>{}};
#else
    const resilience::any_pipeline guard{cap<153>{}};
#endif
}
