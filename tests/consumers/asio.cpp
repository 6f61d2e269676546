// SPDX-License-Identifier: Apache-2.0
// The program of a user of coroutines, on either Asio.
#include <resilience/resilience.hpp>

#ifdef CONSUMER_OF_BOOST
#include <resilience/boost_asio.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
namespace net = boost::asio;
#else
#include <resilience/asio.hpp>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/use_future.hpp>
namespace net = asio;
#endif

int main() {
    namespace rs = resilience;

    rs::registry registry;
    const rs::retry retry({.max_attempts = 2, .base_delay = std::chrono::milliseconds{1}}, registry);
    int attempts = 0;
    const auto flaky = [&]() -> net::awaitable<int> {
        if (++attempts == 1) throw 1;
        co_return 42;
    };

    net::io_context io;
    auto answer = net::co_spawn(io, retry(flaky), net::use_future);
    io.run();
    return answer.get() == 42 ? 0 : 1;
}
