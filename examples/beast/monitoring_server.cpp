// SPDX-License-Identifier: Apache-2.0
// The monitoring API behind Boost.Beast: one thread, a coroutine for each connection, streams of events that block
// nobody. The service itself is a coroutine beside them.
//
// Needs Boost 1.81 or newer; on Debian 12 that is libboost1.81-dev, not the default libboost-dev (1.74).
//
//     example_beast_monitoring_server [port [seconds]]      (any free port, 1 s)
//     curl http://127.0.0.1:<port>/metrics
//     curl -N http://127.0.0.1:<port>/api/v1/resilience/events/stream
#include <boost/version.hpp>
#if BOOST_VERSION < 108100
#error "this example needs Boost 1.81 or newer (Debian 12: libboost1.81-dev)"
#else

#include <resilience/boost_asio.hpp>
#include <resilience/dashboard_page.hpp>
#include <resilience/event_log.hpp>
#include <resilience/monitoring_api.hpp>
#include <resilience/resilience.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address_v4.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast.hpp>

namespace rs = resilience;
namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using net::use_awaitable;
using net::ip::tcp;
using beast_request = http::request<http::string_body>;
using namespace std::chrono_literals;

// What a client may take of us.
constexpr auto patience = 10s; // until a request is there as a whole, until an answer is gone
constexpr std::uint32_t longest_header = 8'192; // bytes
constexpr std::uint64_t longest_body = 65'536;
constexpr int most_connections = 100;

static rs::http_request converted(const beast_request& request) {
    rs::http_request asked{.method = std::string(request.method_string()),
                           .target = std::string(request.target()),
                           .body = request.body()};
    for (const auto& field : request) asked.headers.emplace(field.name_string(), field.value());
    return asked;
}

template <class Body>
static void set_header(http::response<Body>& to, const rs::http_response& from) {
    to.result(static_cast<unsigned>(from.status));
    to.set(http::field::content_type, from.content_type);
    for (const auto& [name, value] : from.headers) to.set(name, value);
}

/// Sends events as they come, in chunks, until the log is closed. The write to a client that has gone throws: with the
/// stream's heartbeats that is noticed within half a minute.
static net::awaitable<void> send_events(beast::tcp_stream& client, const rs::http_response& answer) {
    http::response<http::empty_body> header;
    set_header(header, answer);
    header.keep_alive(false);
    header.chunked(true);
    http::response_serializer<http::empty_body> serializer(header);
    client.expires_after(patience);
    co_await http::async_write_header(client, serializer, use_awaitable);

    net::steady_timer pause(client.get_executor());
    while (!answer.stream->ended()) {
        const std::string piece = answer.stream->next(0s); // to wait in there would hold up everybody
        if (!piece.empty()) {
            const auto chunk = http::make_chunk(net::buffer(piece));
            client.expires_after(patience);
            co_await net::async_write(client, chunk, use_awaitable);
        }
        pause.expires_after(100ms);
        co_await pause.async_wait(use_awaitable);
    }
    const auto last = http::make_chunk_last();
    client.expires_after(patience);
    co_await net::async_write(client, last, use_awaitable);
}

/// Sends the answer to a request; `with_body`: not for HEAD, which is told the length alone.
static net::awaitable<void> send(beast::tcp_stream& client, rs::http_response answer, bool with_body,
                                 bool keep_alive) {
    http::response<http::string_body> message;
    set_header(message, answer);
    message.keep_alive(keep_alive);
    message.body() = std::move(answer.body);
    if (!answer.stream) message.prepare_payload(); // a stream has no length
    http::response_serializer<http::string_body> serializer(message);
    client.expires_after(patience);
    if (with_body) co_await http::async_write(client, serializer, use_awaitable);
    else co_await http::async_write_header(client, serializer, use_awaitable);
}

static rs::http_response refused(int status, const char* code, const char* message) {
    return {status, "application/json", {}, rs::error_json(code, message), {}};
}

/// What to say of a request that could not be read; nothing (status 0) where nobody listens any more.
static rs::http_response refusal_of(const boost::system::error_code& error) {
    if (error == http::error::header_limit)
        return refused(431, "header_too_large", "the header is longer than 8 KiB");
    if (error == http::error::body_limit)
        return refused(413, "body_too_large", "the body is longer than 64 KiB");
    const bool by_parser = error.category() == make_error_code(http::error::bad_method).category();
    if (by_parser && error != http::error::end_of_stream && error != http::error::partial_message)
        return refused(400, "bad_request", "this is not HTTP/1.1");
    return {.status = 0};
}

/// Ends a connection whose client may still be sending: were it closed at once, the system would answer that with a
/// reset, and the client might never see what we said.
static net::awaitable<void> hang_up(beast::tcp_stream& client, beast::flat_buffer& buffer) {
    boost::system::error_code error;
    // NOLINTNEXTLINE(bugprone-unused-return-value): it is in `error` too
    (void)client.socket().shutdown(tcp::socket::shutdown_send, error);
    client.expires_after(1s);
    while (!error) {
        buffer.clear();
        const auto room = buffer.prepare(longest_header);
        co_await client.async_read_some(room, net::redirect_error(use_awaitable, error));
    }
}

/// One connection, request after request. Its errors end it, and concern nobody else.
static net::awaitable<void> serve(tcp::socket socket, const rs::monitoring_api& api,
                                  std::shared_ptr<void> place) {
    (void)place; // held until the end
    beast::tcp_stream client(std::move(socket));
    beast::flat_buffer buffer(std::size_t{2} * longest_header); // bounds what is read ahead
    for (bool keep_alive = true; keep_alive;) {
        http::request_parser<http::string_body> parser;
        parser.header_limit(longest_header);
        parser.body_limit(longest_body);
        client.expires_after(patience);
        boost::system::error_code error;
        co_await http::async_read(client, buffer, parser, net::redirect_error(use_awaitable, error));
        if (error) {
            rs::http_response refusal = refusal_of(error);
            if (refusal.status != 0) co_await send(client, std::move(refusal), true, false);
            break;
        }
        const beast_request& request = parser.get();
        const bool with_body = request.method() != http::verb::head;
        const bool in_chunks =
            request.version() >= 11; // HTTP/1.0 has neither chunks nor our way to keep alive
        rs::http_request asked = converted(request);
        if (!with_body) asked.method = "GET"; // whose length HEAD is to be told
        rs::http_response answer = api.handle(asked);
        keep_alive = request.keep_alive() && in_chunks;
        if (answer.stream && with_body && in_chunks) {
            co_await send_events(client, answer);
            break;
        }
        if (answer.stream && with_body) answer = refused(505, "no_chunks", "streams need HTTP/1.1");
        co_await send(client, std::move(answer), with_body, keep_alive);
    }
    co_await hang_up(client, buffer);
}

static net::awaitable<void> accept(tcp::acceptor& acceptor, const rs::monitoring_api& api) {
    const auto places = std::make_shared<int>(0); // what is in use: one and a count of owners
    net::steady_timer pause(acceptor.get_executor());
    for (;;) {
        boost::system::error_code error;
        tcp::socket socket = co_await acceptor.async_accept(net::redirect_error(use_awaitable, error));
        if (error) { // out of descriptors, most likely
            pause.expires_after(100ms);
            co_await pause.async_wait(use_awaitable);
        } else if (places.use_count() <= most_connections) {
            net::co_spawn(acceptor.get_executor(), serve(std::move(socket), api, places), net::detached);
        } // else the socket is closed
    }
}

/// Stands for a remote call: every third fails, and for half of the time all of them do.
static net::awaitable<std::string> fetch_issues(int& requests) {
    net::steady_timer answer(co_await net::this_coro::executor, 5ms);
    co_await answer.async_wait(use_awaitable);
    ++requests;
    if (requests % 3 == 0 || requests % 100 > 50) throw std::runtime_error("HTTP 503");
    co_return "issues";
}

/// What is monitored.
static net::awaitable<void> work() {
    const auto guard = rs::retry({.name = "jira_api", .base_delay = 5ms}) |
                       rs::circuit_breaker({.name = "jira_api", .recovery_timeout = 300ms}) |
                       rs::timeout({.name = "jira_api", .limit = 1s});
    net::steady_timer pause(co_await net::this_coro::executor);
    for (int requests = 0;;) {
        auto call = guard.try_call(fetch_issues, requests);
        (void)co_await std::move(call); // the events tell
        pause.expires_after(10ms);
        co_await pause.async_wait(use_awaitable);
    }
}

int main(int argc, char** argv) {
    const auto port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 0);
    const std::chrono::seconds lifetime{argc > 2 ? std::atoi(argv[2]) : 1};

    const auto log = std::make_shared<rs::event_log>();
    const rs::monitoring_api api(rs::registry::global(), {.events = log,
                                                          .max_streams = most_connections / 2, // no threads
                                                          .dashboard = rs::dashboard_page,
                                                          .dashboard_policy = rs::dashboard_policy});
    net::io_context io{1}; // after what its coroutines use: they end with it
    tcp::acceptor acceptor(io, {net::ip::address_v4::loopback(), port});
    std::cout << "http://127.0.0.1:" << acceptor.local_endpoint().port()
              << " serves /dashboard, /metrics and /api/v1/resilience for " << lifetime.count() << " s\n"
              << std::flush;
    net::co_spawn(io, accept(acceptor, api), net::detached);
    net::co_spawn(io, work(), net::detached);

    io.run_for(lifetime);
    log->close(); // streams are ended, not cut off
    io.run_for(500ms);
}

#endif
