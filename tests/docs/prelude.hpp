// SPDX-License-Identifier: Apache-2.0
#pragma once

// What every snippet of the documentation takes for granted.
#include <resilience/resilience.hpp>

#include <chrono>
#include <string>

namespace rs = resilience;
using namespace std::chrono_literals;
