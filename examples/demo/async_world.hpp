// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "contest.hpp"

#include <memory>

namespace demo {

/// Calls that are coroutines, all of both sides on one thread; the servers are on another. Throws
/// std::runtime_error if the process may not open that many sockets.
std::unique_ptr<world> make_async_world();

} // namespace demo
