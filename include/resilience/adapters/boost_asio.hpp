// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp> // first: it refuses older languages

#include <boost/asio/version.hpp>

// Before the other headers of that library, some of which older releases do not have.
#if BOOST_ASIO_VERSION < 102600
#error "resilience: Boost 1.81 or newer is needed (Debian 12: libboost1.81-dev)"
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
#include <system_error>
#include <type_traits>
#include <utility>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>

/// Boost.Asio (Boost 1.81 or newer). If f returns a `boost::asio::awaitable<T, Ex>`, so does p(f). Delays are
/// timers on the awaitable's executor, and results resume there. Per-operation cancellation reaches the sleep
/// and the attempt; it is never retried and never counted as a failure. See docs/coroutines.md.

namespace resilience { inline namespace RESILIENCE_ABI {
namespace detail::asio_of_boost {
namespace net = ::boost::asio;
namespace tasks = asio_of_boost;
using net_error_code = ::boost::system::error_code;
#include <resilience/adapters/asio_tasks.ipp>
} // namespace detail::asio_of_boost

template <class T, class Ex>
struct task_traits<::boost::asio::awaitable<T, Ex>> : detail::asio_of_boost::awaitable_traits<T, Ex> {
    /// Needed since Boost's system_error is no std::system_error.
    static std::error_code code_of(const std::exception& e) noexcept {
        const auto* known = dynamic_cast<const ::boost::system::system_error*>(&e);
        return known != nullptr ? std::error_code(known->code()) : std::error_code{};
    }
};

}} // namespace resilience::RESILIENCE_ABI

#endif
