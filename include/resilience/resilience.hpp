// SPDX-License-Identifier: Apache-2.0
#pragma once

// The core: policies, pipelines, registry. Needs nothing but the standard library. Beside it lie alert_sink.hpp,
// event_log.hpp, the views and the adapters.

#include <resilience/abandoning_timeout.hpp>
#include <resilience/any_pipeline.hpp>
#include <resilience/bulkhead.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/common_pipelines.hpp>
#include <resilience/fallback.hpp>
#include <resilience/http/retry_hints.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/rate_limiter.hpp>
#include <resilience/registry.hpp>
#include <resilience/retry.hpp>
#include <resilience/settings/env.hpp>
#include <resilience/timeout.hpp>
