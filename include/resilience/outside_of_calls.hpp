// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/outside_of_calls.hpp>
