// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <resilience/abandoning_timeout/config.hpp>
#include <resilience/circuit_breaker/config.hpp>
#include <resilience/retry/config.hpp>
#include <resilience/settings/env.hpp>
#include <resilience/timeout.hpp>
