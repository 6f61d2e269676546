// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp> // first: it refuses older languages

#include <asio/detail/config.hpp>
#include <asio/version.hpp>

// Before Asio's other headers, some of which older releases do not have.
#if ASIO_VERSION < 102200
#error "resilience: Asio 1.22 or newer is needed (per-operation cancellation)"
#elif !defined(ASIO_HAS_CO_AWAIT)
#error \
    "resilience: this Asio does not know that the compiler has coroutines (with clang and Asio before 1.24: define ASIO_HAS_CO_AWAIT and ASIO_HAS_STD_COROUTINE)"
#else

#include <resilience/call/task_traits.hpp>
#include <resilience/call/time.hpp>
#include <resilience/detail/platform.hpp>
#include <resilience/detail/sync.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

#include <asio/any_io_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/awaitable.hpp>
#include <asio/basic_waitable_timer.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/cancellation_state.hpp>
#include <asio/co_spawn.hpp>
#include <asio/error_code.hpp>
#include <asio/redirect_error.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

/// Standalone Asio (1.22 or newer). If f returns an `asio::awaitable<T, Ex>`, so does p(f). Delays are timers
/// on the awaitable's executor, and results resume there. Per-operation cancellation reaches the sleep and
/// the attempt; it is never retried and never counted as a failure. See docs/coroutines.md.

namespace resilience { inline namespace RESILIENCE_ABI {
namespace detail::asio_standalone {
namespace net = ::asio;
namespace tasks = asio_standalone;
using net_error_code = net::error_code;
#include <resilience/adapters/asio_tasks.ipp>
} // namespace detail::asio_standalone

template <class T, class Ex>
struct task_traits<::asio::awaitable<T, Ex>> : detail::asio_standalone::awaitable_traits<T, Ex> {};

}} // namespace resilience::RESILIENCE_ABI

#endif
