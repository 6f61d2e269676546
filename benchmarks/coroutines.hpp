// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "harness.hpp"

#include <vector>

namespace bench {

/// Awaited calls on an io_context that one thread runs; the first row is a bare co_await of the same task.
std::vector<row> coroutine_rows();

} // namespace bench
