// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <resilience/alert_sink.hpp>
#include <resilience/httplib_sender.hpp>
#include <resilience/testing/virtual_clock.hpp>

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;

/// A receiver on loopback that remembers what it got and answers as it is told.
class receiver {
public:
    using answer = std::function<void(const httplib::Request&, httplib::Response&)>;

    explicit receiver(answer how,
                      std::unique_ptr<httplib::Server> server = std::make_unique<httplib::Server>())
        : server_(std::move(server)) {
        server_->Post(".*",
                      [this, how = std::move(how)](const httplib::Request& request, httplib::Response& r) {
                          {
                              const std::lock_guard lock(mutex_);
                              got_.push_back(request);
                          }
                          how(request, r);
                      });
        port_ = server_->bind_to_any_port("127.0.0.1");
        REQUIRE(port_ > 0);
        thread_ = std::thread([this] { server_->listen_after_bind(); });
        while (!server_->is_running()) std::this_thread::yield();
    }
    receiver(const receiver&) = delete;
    receiver& operator=(const receiver&) = delete;
    ~receiver() {
        server_->stop();
        thread_.join();
    }
    std::string url(const std::string& path = "/alerts", const char* scheme = "http") const {
        return std::string(scheme) + "://127.0.0.1:" + std::to_string(port_) + path;
    }
    int port() const { return port_; }
    std::vector<httplib::Request> got() const {
        const std::lock_guard lock(mutex_);
        return got_;
    }

private:
    std::unique_ptr<httplib::Server> server_;
    std::thread thread_;
    int port_ = 0;
    mutable std::mutex mutex_;
    std::vector<httplib::Request> got_;
};

receiver::answer status(int code) {
    return [code](const httplib::Request&, httplib::Response& r) { r.status = code; };
}
/// 503 so many times, then 200.
receiver::answer after_failures(int failures, const char* retry_after = nullptr, int code = 503) {
    return [left = std::make_shared<std::atomic<int>>(failures), retry_after, code](const httplib::Request&,
                                                                                    httplib::Response& r) {
        r.status = (*left)-- > 0 ? code : 200;
        if (r.status != 200 && retry_after != nullptr) r.set_header("Retry-After", retry_after);
    };
}

rs::alert an_alert() {
    rs::alert a{.what = {.kind = rs::event_kind::state_changed,
                         .policy_kind = "circuit_breaker",
                         .policy = "jira_api"}};
    a.what.to = rs::circuit_state::open;
    a.fingerprint = rs::alert_fingerprint(a.what);
    a.id = "00112233445546778899aabbccddeeff";
    return a;
}

std::string failure_of(const rs::webhook_sender& send) {
    try {
        send(an_alert());
    } catch (const std::exception& e) {
        return e.what();
    }
    return "none";
}
std::string refusal_of(const rs::webhook_config& config) {
    try {
        (void)rs::webhook_sender(config);
    } catch (const std::invalid_argument& e) {
        return e.what();
    }
    return "none";
}

} // namespace

TEST_CASE("an alert is posted as JSON, with the headers that were given", "[httplib_sender]") {
    const receiver there(status(204));
    const rs::webhook_sender send(
        {.url = there.url("/alerts?to=a,b%20c"), .headers = {{"Authorization", "Bearer secret"}}});

    send(an_alert());

    const auto got = there.got();
    REQUIRE(got.size() == 1);
    CHECK(got[0].target == "/alerts?to=a,b%20c");
    CHECK(got[0].get_header_value("Authorization") == "Bearer secret");
    CHECK(got[0].get_header_value("Content-Type") == "application/json");
    CHECK(got[0].get_header_value("User-Agent") == "resilience/0.1.0");
    CHECK(got[0].body == rs::webhook_body(an_alert()));
}

TEST_CASE("a header of the user's takes the place of the sender's own, and may be there twice",
          "[httplib_sender]") {
    const receiver there(status(204));
    const rs::webhook_sender send({.url = there.url(),
                                   .headers = {{"content-type", "application/vnd.alert+json"},
                                               {"USER-AGENT", "tickets/1.4.2"},
                                               {"X-Tag", "a"},
                                               {"X-Tag", "b"}}});

    send(an_alert());

    const auto got = there.got();
    REQUIRE(got.size() == 1);
    CHECK(got[0].get_header_value_count("Content-Type") == 1);
    CHECK(got[0].get_header_value("Content-Type") == "application/vnd.alert+json");
    CHECK(got[0].get_header_value_count("User-Agent") == 1);
    CHECK(got[0].get_header_value("User-Agent") == "tickets/1.4.2");
    CHECK(got[0].get_header_value_count("X-Tag") == 2);
    CHECK(got[0].get_header_value_count("Content-Length") == 1);
}

TEST_CASE("a receiver that fails twice gets the alert at the third attempt", "[httplib_sender]") {
    rs::testing::virtual_clock clock;
    const receiver there(after_failures(2));
    const rs::webhook_sender send({.url = there.url()}, clock);

    CHECK(failure_of(send) == "none");

    CHECK(there.got().size() == 3);
    CHECK(clock.slept().size() == 2);
}

TEST_CASE("a receiver that says when to come back is obeyed, up to max_delay", "[httplib_sender]") {
    rs::testing::virtual_clock clock;
    const receiver there(after_failures(1, "7", 429));
    const rs::webhook_sender send({.url = there.url()}, clock);
    CHECK(failure_of(send) == "none");
    REQUIRE(clock.slept().size() == 1);
    CHECK(clock.slept()[0] >= 7s); // and a random share of base_delay
    CHECK(clock.slept()[0] <= 8s);

    const receiver busy(after_failures(1, "11", 429));
    const rs::webhook_sender gives_up({.url = busy.url()}, clock);
    CHECK(failure_of(gives_up) == "webhook_sender: HTTP 429");
    CHECK(busy.got().size() == 1);
}

TEST_CASE("what will not change is sent once", "[httplib_sender]") {
    rs::testing::virtual_clock clock;
    for (const int code : {302, 400, 401, 404, 413}) {
        const receiver there(status(code));
        const rs::webhook_sender send({.url = there.url()}, clock);

        CHECK(failure_of(send) == "webhook_sender: HTTP " + std::to_string(code));

        CHECK(there.got().size() == 1);
    }
    CHECK(clock.slept().empty());
}

TEST_CASE("a receiver that is not there, and one that stays down", "[httplib_sender]") {
    rs::testing::virtual_clock clock;
    std::string gone;
    {
        const receiver there(status(200));
        gone = there.url();
    }
    CHECK(failure_of(rs::webhook_sender({.url = gone}, clock)) ==
          "webhook_sender: no HTTP answer (Connection)");

    const receiver down(status(500));
    CHECK(failure_of(rs::webhook_sender({.url = down.url(), .max_attempts = 4}, clock)) ==
          "webhook_sender: HTTP 500");
    CHECK(down.got().size() == 4);
    CHECK(clock.slept().size() == 2 + 3);
}

TEST_CASE("a receiver that hangs is left at the limit", "[httplib_sender]") {
    std::mutex mutex;
    std::condition_variable changed;
    bool released = false;
    const receiver there([&](const httplib::Request&, httplib::Response&) {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return released; });
    });
    rs::testing::virtual_clock clock;
    const rs::webhook_sender send({.url = there.url(), .timeout = 50ms, .max_attempts = 2}, clock);

    const auto before = std::chrono::steady_clock::now();
    const std::string failure = failure_of(send);
    const auto took = std::chrono::steady_clock::now() - before;
    {
        const std::lock_guard lock(mutex);
        released = true;
    }
    changed.notify_all();

    CHECK(failure == "webhook_sender: no HTTP answer (Read)");
    CHECK(there.got().size() == 2);
    CHECK(took >= 100ms);
    CHECK(took < 10s);
}

TEST_CASE("a receiver that sends a byte now and then is left at the limit too", "[httplib_sender]") {
    // Each read is quick: only the limit of the whole ends this.
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(listener >= 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(listener, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0);
    REQUIRE(::listen(listener, 1) == 0);
    socklen_t size = sizeof at;
    REQUIRE(::getsockname(listener, reinterpret_cast<sockaddr*>(&at), &size) == 0);
    const char* const beginning = GENERATE("HTTP/1.1 200 OK\r\nX-Slow: ", "HTTP/1.1 200 OK\r\n\r\n");
    std::thread dripping([&] {
        const int client = ::accept(listener, nullptr, nullptr);
        std::string next = beginning;
        while (::send(client, next.data(), next.size(), MSG_NOSIGNAL) > 0) {
            next = "x";
            ::poll(nullptr, 0, 2);
        }
        ::close(client);
    });
    const rs::webhook_sender send({.url = "http://127.0.0.1:" + std::to_string(ntohs(at.sin_port)),
                                   .timeout = 100ms,
                                   .max_attempts = 1});

    const auto before = std::chrono::steady_clock::now();
    const std::string failure = failure_of(send);
    const auto took = std::chrono::steady_clock::now() - before;
    dripping.join();
    ::close(listener);

    CHECK(failure != "none");
    CHECK(took >= 90ms);
    CHECK(took < 5s);
}

TEST_CASE("a peer that hangs up does not end the process", "[httplib_sender]") {
    // The server of cpp-httplib makes the process ignore SIGPIPE; here it would end it.
    const auto before = std::signal(SIGPIPE, SIG_DFL);
    {
        const rs::detail::sigpipe_held_back held;
        int ends[2];
        REQUIRE(::pipe(ends) == 0);
        ::close(ends[0]);
        CHECK(::write(ends[1], "x", 1) == -1);
        ::close(ends[1]);
    }
    std::signal(SIGPIPE, before);
    SUCCEED();
}

TEST_CASE("a Sentry project gets envelopes", "[httplib_sender]") {
    rs::testing::virtual_clock clock;
    const receiver there(status(200));
    const std::string dsn = "http://abc@127.0.0.1:" + std::to_string(there.port()) + "/42";

    rs::webhook_sender({.url = dsn, .format = rs::webhook_format::sentry}, clock)(an_alert());

    const auto got = there.got();
    REQUIRE(got.size() == 1);
    CHECK(got[0].target == "/api/42/envelope/");
    CHECK(got[0].get_header_value("Content-Type") == "application/x-sentry-envelope");
    CHECK(got[0].get_header_value("X-Sentry-Auth") ==
          "Sentry sentry_version=7, sentry_client=resilience/0.1.0, sentry_key=abc");
    CHECK(got[0].body == rs::sentry_envelope(an_alert(), rs::parse_sentry_dsn(dsn), clock.wall_now()));
}

TEST_CASE("Rollbar gets items", "[httplib_sender]") {
    const receiver there(status(200));

    rs::webhook_sender(
        {.url = there.url("/api/1/item/"), .format = rs::webhook_format::rollbar, .token = "t"})(an_alert());

    const auto got = there.got();
    REQUIRE(got.size() == 1);
    CHECK(got[0].get_header_value("X-Rollbar-Access-Token") == "t");
    CHECK(got[0].get_header_value("Content-Type") == "application/json");
    CHECK(got[0].body == rs::rollbar_item(an_alert()));
}

TEST_CASE("a body of one's own is sent instead; one that throws fails the alert", "[httplib_sender]") {
    const receiver there(status(200));
    const rs::webhook_sender chat({.url = there.url(), .body = [](const rs::alert& a) {
                                       return "{\"text\":\"" + a.what.policy + "\"}";
                                   }});
    chat(an_alert());
    REQUIRE(there.got().size() == 1);
    CHECK(there.got()[0].body == R"({"text":"jira_api"})");

    const rs::webhook_sender bad({.url = there.url(), .body = [](const rs::alert&) -> std::string {
                                      throw std::runtime_error("no body");
                                  }});
    CHECK(failure_of(bad) == "no body");
    CHECK(there.got().size() == 1);
}

TEST_CASE("a sink's alerts arrive at a receiver that fails at first, and cause no events",
          "[httplib_sender]") {
    rs::testing::virtual_clock clock;
    rs::registry reg(clock);
    int events = 0;
    const auto heard = reg.subscribe([&](const rs::event&) { ++events; });
    const receiver there(after_failures(2));
    rs::alert_sink sink(reg, {.labels = {.service = "tickets"}},
                        rs::webhook_sender({.url = there.url(), .base_delay = 0s}));

    reg.env()->publish(an_alert().what);

    CHECK(sink.flush(1min));
    CHECK(sink.stats().sent == 1);
    REQUIRE(there.got().size() == 3);
    CHECK(there.got()[2].body.find(R"("service":"tickets")") != std::string::npos);
    CHECK(events == 1);
    CHECK(reg.policies().empty());
}

#ifdef CPPHTTPLIB_OPENSSL_SUPPORT
namespace {

/// Of nobody's but this test's: 127.0.0.1, from 2020 to 2120.
constexpr const char* certificate = R"(-----BEGIN CERTIFICATE-----
MIIBjDCCATKgAwIBAgIUe/TfpEwKXnFhNkhpR4nXDhj8stEwCgYIKoZIzj0EAwIw
HTEbMBkGA1UEAwwSbG9vcGJhY2sgZm9yIHRlc3RzMCAXDTIwMDEwMTAwMDAwMFoY
DzIxMjAwMTAxMDAwMDAwWjAdMRswGQYDVQQDDBJsb29wYmFjayBmb3IgdGVzdHMw
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQuK1d4faC9uaaR7qwOzzKHrTPOEW+z
jlu7eq3ujbK6Zo7JaQ/GkS/mHCYS3e5qeJA1Y5VT2eA4/q0LmjI1q5GJo04wTDAP
BgNVHRMBAf8EBTADAQH/MBoGA1UdEQQTMBGHBH8AAAGCCWxvY2FsaG9zdDAdBgNV
HQ4EFgQUK2hqJRY8TRSdx7RASuHM8AVy1Y0wCgYIKoZIzj0EAwIDSAAwRQIgPiJY
2c6RZDv3qlXyEdf1sJ8Iu2f7GGnEsI7H70Nl06QCIQCc2Au0eqY83DbI1f/f6Wgn
jKM97u5uVB04MvSBDudzXg==
-----END CERTIFICATE-----
)";
constexpr const char* certificates_key = R"(-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgxcNk8QfqmRNYwGVn
2Jtbv34Zv0DLS4TnaU8jfJWKe/ShRANCAAQuK1d4faC9uaaR7qwOzzKHrTPOEW+z
jlu7eq3ujbK6Zo7JaQ/GkS/mHCYS3e5qeJA1Y5VT2eA4/q0LmjI1q5GJ
-----END PRIVATE KEY-----
)";

/// A file that lives as long as this.
class temporary_file {
public:
    explicit temporary_file(const char* text) {
        const int file = ::mkstemp(name_);
        REQUIRE(file >= 0);
        ::close(file);
        std::ofstream(name_) << text;
    }
    temporary_file(const temporary_file&) = delete;
    temporary_file& operator=(const temporary_file&) = delete;
    ~temporary_file() { ::unlink(name_); }
    const char* name() const { return name_; }

private:
    char name_[64] = "/tmp/resilience-test-XXXXXX";
};

} // namespace

TEST_CASE("a certificate that nobody vouches for is refused", "[httplib_sender]") {
    const temporary_file cert(certificate);
    const temporary_file key(certificates_key);
    const receiver there(status(200), std::make_unique<httplib::SSLServer>(cert.name(), key.name()));
    rs::testing::virtual_clock clock;

    CHECK(failure_of(rs::webhook_sender({.url = there.url("/", "https")}, clock)) ==
          "webhook_sender: no HTTP answer (SSLServerVerification)");
    CHECK(there.got().empty());

    CHECK(failure_of(rs::webhook_sender({.url = there.url("/", "https"), .ca_file = cert.name()}, clock)) ==
          "none");
    CHECK(there.got().size() == 1);
}
#endif

TEST_CASE("a URL that cannot be posted to is refused, and not repeated", "[httplib_sender]") {
    const auto said = [](std::string url) { return refusal_of({.url = std::move(url)}); };
    const std::string must = "; it must be http or https, for instance https://host/path";

    CHECK(said("") == "webhook_config.url has another scheme or none" + must);
    CHECK(said("host/path") == "webhook_config.url has another scheme or none" + must);
    CHECK(said("ftp://host/") == "webhook_config.url has another scheme or none" + must);
    CHECK(said("http://") == "webhook_config.url has no host" + must);
    CHECK(said("http:///path") == "webhook_config.url has no host" + must);
    CHECK(said("http://:80/") == "webhook_config.url has no host" + must);
    CHECK(said("http://me:secret@host/") == "webhook_config.url has a user in it" + must);
    CHECK(said("http://host/a#b") == "webhook_config.url has a fragment" + must);
    CHECK(said("http://host/a b") ==
          "webhook_config.url has a character that must be percent-encoded" + must);
    CHECK(said("http://host/a\r\nX: y") ==
          "webhook_config.url has a character that must be percent-encoded" + must);
    CHECK(said("http://host") == "none");
    CHECK(said("http://[::1]:80?x") == "none");
    CHECK(refusal_of({.url = "https://host/42", .format = rs::webhook_format::sentry})
              .starts_with("sentry_dsn: there is no public key before an @"));
#ifdef CPPHTTPLIB_OPENSSL_SUPPORT
    CHECK(said("https://host/path") == "none");
    CHECK(refusal_of({.format = rs::webhook_format::rollbar, .token = "t"}) == "none");
#else
    CHECK(said("https://host/path").starts_with("webhook_config.url is https; this program's cpp-httplib"));
#endif
}

TEST_CASE("a bad config of a sender is refused with field, value and range", "[httplib_sender]") {
    const auto said = [](rs::webhook_config c) {
        if (c.url.empty()) c.url = "http://host/";
        return refusal_of(c);
    };

    CHECK(said({.timeout = 0s}) == "webhook_config.timeout is 0ns; it must be more than 0");
    CHECK(said({.max_attempts = 0}) ==
          "webhook_config.max_attempts is 0; it must be 1 or more (1: never retry)");
    CHECK(said({.base_delay = -1s}) == "webhook_config.base_delay is -1s; it must be 0 or more");
    CHECK(said({.max_delay = -1s}) == "webhook_config.max_delay is -1s; it must be 0 or more");
    CHECK(said({.format = rs::webhook_format::rollbar}) ==
          "webhook_config.token is empty; it must be Rollbar's access token");
    CHECK(said({.headers = {{"A b", "c"}}}) ==
          "webhook_config.headers is malformed; it must be names without blanks and colons");
    CHECK(said({.headers = {{"A", "c\r\nX: y"}}}) ==
          "webhook_config.headers is malformed; it must be values without control characters");
    CHECK(said({.headers = {{"A\r\nX", "c"}}}) ==
          "webhook_config.headers is malformed; it must be names without blanks and colons");
    CHECK(said({.headers = {{"A", "c\nX: y"}}}) ==
          "webhook_config.headers is malformed; it must be values without control characters");
    for (const char* name : {"Content-Length", "content-length", "TRANSFER-ENCODING", "Transfer-Encoding",
                             "Host", "connection"}) {
        INFO(name);
        CHECK(
            said({.headers = {{name, "5"}}}) ==
            "webhook_config.headers is malformed; it must be without Content-Length, Transfer-Encoding, Host "
            "and Connection");
    }
    CHECK(said({.headers = {{"X-Host", "a"}, {"Connections", "b"}}}) == "none");
    CHECK(said({.headers = {{"A", ""}, {"B", "\xC3\xA4 x"}}}) == "none");
}
