// SPDX-License-Identifier: Apache-2.0
#pragma once

// The one place that names the primitives of concurrency for the library. A test build defines
// RESILIENCE_SYNC_HEADER to a header that provides the same names in the same namespace, made of
// instrumented types, so that a deterministic scheduler can explore the interleavings of the real code.

#include <resilience/config.hpp>

#if defined(RESILIENCE_SYNC_HEADER)
#include RESILIENCE_SYNC_HEADER
#else

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace resilience::inline RESILIENCE_ABI::detail {

template <class T>
using atomic = std::atomic<T>;
using mutex = std::mutex;
using condition_variable = std::condition_variable;
using cv_status = std::cv_status;
using thread = std::thread;
using lock_guard = std::lock_guard<mutex>;
using unique_lock = std::unique_lock<mutex>;

} // namespace resilience::inline RESILIENCE_ABI::detail

#endif
