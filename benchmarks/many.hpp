// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "report.hpp"

namespace bench {

/// Many circuits, many threads, many coroutines that wait, and the heap that a policy takes: prints their tables.
void measure_many(int repetitions, const bounds& limits, verdict& v);

} // namespace bench
