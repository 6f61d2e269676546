// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/outside_of_calls.hpp>
#include <resilience/call/time.hpp>
#include <resilience/testing/virtual_clock.hpp>

#include <algorithm>

namespace resilience { inline namespace RESILIENCE_ABI { namespace testing {

/// Advances the virtual time from timer to timer and runs the work that is then due on the execution context
/// (an io_context of Asio or Boost.Asio). A day of delays between a coroutine's attempts passes in
/// milliseconds. For tests with one thread. `io` needs restart() and poll().
template <class Context>
void advance(Context& io, virtual_clock& clock, duration by) {
    const outside_of_calls others; // the work that is due may be of any call
    const time_point target = saturating_add(clock.now(), by);
    const auto run_all = [&io] {
        io.restart(); // a context that ran out of work is stopped
        io.poll();
    };
    run_all();
    while (clock.now() < target) {
        clock.advance(
            saturating_sub(std::min(std::max(clock.next_timer(), clock.now()), target), clock.now()));
        run_all();
    }
}

}}} // namespace resilience::RESILIENCE_ABI::testing
