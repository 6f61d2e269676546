// SPDX-License-Identifier: Apache-2.0

// The compiled library, resilience::compiled: the bodies of all functions that headers then only declare.

#define RESILIENCE_COMPILED 1
#define RESILIENCE_COMPILING 1

#include <resilience/alert_sink.hpp>
#include <resilience/event_log.hpp>
#include <resilience/resilience.hpp>
