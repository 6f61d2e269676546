// SPDX-License-Identifier: Apache-2.0
#pragma once

// Everything of the core: policies, pipelines, registry. Needs nothing but the standard library.

#include <resilience/abandoning_timeout.hpp>
#include <resilience/alerts/sink.hpp>
#include <resilience/any_pipeline.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/event_log.hpp>
#include <resilience/fallback.hpp>
#include <resilience/http/retry_after.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/registry.hpp>
#include <resilience/retry.hpp>
#include <resilience/settings/env.hpp>
#include <resilience/timeout.hpp>
