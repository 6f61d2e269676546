// SPDX-License-Identifier: Apache-2.0
#pragma once

// What nearly every test includes and nobody here edits: parsed once for each test program. The library's
// own headers stay out: a change to one rebuilds those that include it, and no others.
#include "support/catch.hpp"

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
