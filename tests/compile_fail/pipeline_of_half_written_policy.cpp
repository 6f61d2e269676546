// expect: resilience: a pipeline is made of policies
// most lines: 19
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>

class cap {
public:
    struct call {
        resilience::admission admit(resilience::call_context&) { return resilience::admission::go(); }
#ifdef CONTROL
        resilience::settlement settle(const resilience::attempt_result&, resilience::call_context&) {
            return resilience::settlement::finish();
        }
#endif
    };
    call begin(resilience::call_context&) const { return {}; }
};

int main() { const resilience::pipeline guard{cap{}, resilience::retry()}; }
