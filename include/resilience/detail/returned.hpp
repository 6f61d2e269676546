// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>
#include <resilience/detail/platform.hpp>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Runs code of the user's that must not fail the call (a predicate, a listener). True if it returned, false
/// if it threw. The forced unwinding of a thread that ends inside it (pthread_exit, cancellation) is
/// rethrown, since swallowing it would end the program.
template <class F>
bool returned(F&& f) {
#if RESILIENCE_EXCEPTIONS
    try {
        f();
        return true;
    } catch (forced_unwind&) {
        throw;
    } catch (...) {
        return false;
    }
#else
    f();
    return true;
#endif
}

}}} // namespace resilience::RESILIENCE_ABI::detail
