// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "harness.hpp"

#include <vector>

namespace bench {

/// Awaited calls on an io_context that one thread runs; the first row is a bare co_await of the same task.
std::vector<row> coroutine_rows();

/// Many coroutines at once, each of which fails, waits and succeeds.
struct waiting_coroutines {
    const char* name;
    double bound;            ///< microseconds; 0: only shown
    double bytes_bound;      ///< likewise
    double microseconds = 0; ///< of a processor, for each coroutine
    double bytes = 0;        ///< of the heap that each has while all wait
};
std::vector<waiting_coroutines> measure_back_off();

} // namespace bench
