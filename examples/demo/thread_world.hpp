// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "contest.hpp"

#include <memory>

namespace demo {

/// Calls that block, made by threads.
std::unique_ptr<world> make_thread_world();

} // namespace demo
