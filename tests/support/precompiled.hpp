// SPDX-License-Identifier: Apache-2.0
#pragma once

// Parsed once for each test program: the half of the time that a test takes to compile. Every test still includes what
// it uses; that a header of the library is complete by itself is checked in headers/.
#include "support/catch.hpp"
#include "support/world.hpp"

#include <resilience/resilience.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>
