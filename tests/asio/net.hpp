// SPDX-License-Identifier: Apache-2.0
#pragma once

// The tests of this folder are compiled twice: for standalone Asio, and for Boost.Asio.

#ifdef RESILIENCE_TEST_BOOST_ASIO
#include <resilience/boost_asio.hpp>

#include <boost/asio.hpp>
#include <boost/system/system_error.hpp>
namespace net = boost::asio;
using net_error_code = boost::system::error_code;
using net_system_error = boost::system::system_error;
#else
#include <resilience/asio.hpp>

#include <asio.hpp>
namespace net = asio;
using net_error_code = asio::error_code;
using net_system_error = asio::system_error;
#endif

#include <resilience/testing/io_context.hpp>

#include "support/world.hpp"

#include <cassert>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

namespace support {

/// The executor that a program of one io_context can name: nothing of it is type-erased.
using io_executor = net::io_context::executor_type;
template <class T>
using io_task = net::awaitable<T, io_executor>;

/// Virtual time, and an io_context that one thread runs.
struct net_world : world {
    net::io_context io{1};

    /// What is due on the context now, and nothing else.
    void run() { resilience::testing::advance(io, clock, resilience::duration{0}); }
    void advance(resilience::duration by) { resilience::testing::advance(io, clock, by); }
};

/// A coroutine that was started, and its end.
template <class T>
class started {
public:
    template <class Ex>
    started(net_world& w, net::awaitable<T, Ex> task) : state_(std::make_shared<state>()) {
        auto keep = keep_result(std::move(task), state_);
        auto token = net::bind_cancellation_slot(state_->cancel.slot(), net::detached);
        net::co_spawn(w.io, std::move(keep), token);
        w.run();
    }
    bool done() const { return state_->done; }
    T result() const {
        if (!done()) throw std::logic_error("not done yet");
        if (state_->failure) std::rethrow_exception(state_->failure);
        return std::move(*state_->value);
    }
    void cancel() const { state_->cancel.emit(net::cancellation_type::terminal); }

private:
    struct state {
        std::optional<T> value;
        std::exception_ptr failure;
        bool done = false;
        net::cancellation_signal cancel;
    };
    template <class Ex>
    static net::awaitable<void, Ex> keep_result(net::awaitable<T, Ex> task, std::shared_ptr<state> to) {
        try {
            to->value.emplace(co_await std::move(task));
        } catch (...) {
            to->failure = std::current_exception();
        }
        to->done = true;
    }
    std::shared_ptr<state> state_;
};
template <class T, class Ex>
started(net_world&, net::awaitable<T, Ex>) -> started<T>;

/// What the tests' operations do: a timer of the library's own, on the coroutine's executor, that ends at a moment
/// of the virtual clock, or by cancellation.
template <class Ex = net::any_io_executor>
net::awaitable<void, Ex> pause(net_world& w, resilience::duration length) {
    using traits = resilience::task_traits<net::awaitable<void, Ex>>;
    auto sleep = traits::sleep_until(w.clock, w.clock.now() + length, {});
    co_await std::move(sleep);
    const auto state = co_await net::this_coro::cancellation_state;
    if (traits::is_cancelled(state)) throw net_system_error(net_error_code(net::error::operation_aborted));
}

} // namespace support
