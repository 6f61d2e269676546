// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"
#include "support/running_server.hpp"
#include "support/sanitizers.hpp"

#include <resilience/circuit_breaker.hpp>
#include <resilience/event_log.hpp>
#include <resilience/httplib.hpp>
#include <resilience/nlohmann_json.hpp>
#include <resilience/registry.hpp>
#include <resilience/testing/virtual_clock.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;

const std::string http_root = "/api/v1/resilience";

struct http_fixture {
    rs::testing::virtual_clock clock;
    rs::registry reg{clock};
};

TEST_CASE("the monitoring API is served over HTTP", "[httplib][monitoring_api]") {
    http_fixture f;
    const rs::circuit_breaker breaker{{.name = "jira_api", .failure_threshold = 5}, f.reg};
    const running_server server([&](httplib::Server& s) { rs::mount(s, rs::monitoring_api{f.reg}); });
    auto client = server.client();

    const auto health = client.Get(http_root + "/health");
    REQUIRE(health);
    CHECK(health->status == 200);
    CHECK(health->get_header_value("Content-Type") == "application/json");
    CHECK(health->get_header_value("X-Content-Type-Options") == "nosniff");
    CHECK(
        health->body ==
        R"({"status":"healthy","timestamp":"2024-01-08T20:00:00.000000Z","total_circuits":1,"circuits_by_state":{"closed":1,"open":0,"half_open":0},"open_circuits":[]})");
    CHECK(client.Get(http_root + "/summary?_=%20")->body == rs::to_json(f.reg.summary()));
    CHECK(client.Get(http_root + "/summary?x=%zz")->status == 400);
    CHECK(client.Get(http_root + "/circuit-breakers")->body == rs::to_json(f.reg.circuit_breakers()));

    const auto metrics = client.Get("/metrics");
    CHECK(metrics->get_header_value("Content-Type") == "text/plain; version=0.0.4; charset=utf-8");
    CHECK(metrics->body == rs::to_prometheus(f.reg));
    CHECK(client.Post("/metrics", "", "text/plain")->status == 405);

    breaker.force_open();
    CHECK(
        client.Get(http_root + "/circuit-breakers/jira_api")->body.starts_with(R"({"state":"forced_open",)"));
}

TEST_CASE("HEAD is answered with the length of the body and none", "[httplib][monitoring_api]") {
    http_fixture f;
    const running_server server([&](httplib::Server& s) { rs::mount(s, rs::monitoring_api{f.reg}); });
    auto client = server.client();

    const auto r = client.Head(http_root + "/health");

    REQUIRE(r);
    CHECK(r->status == 200);
    CHECK(r->body.empty());
    CHECK(r->get_header_value("Content-Length") == std::to_string(rs::to_json(f.reg.health()).size()));
}

TEST_CASE("other methods over HTTP are 405, other paths 404", "[httplib][monitoring_api][H-MON-07]") {
    http_fixture f;
    const rs::circuit_breaker breaker{{.name = "jira_api"}, f.reg};
    const running_server server([&](httplib::Server& s) { rs::mount(s, rs::monitoring_api{f.reg}); });
    auto client = server.client();

    for (const auto& r :
         {client.Post(http_root + "/health", "{}", "application/json"),
          client.Put(http_root + "/health", "{}", "application/json"),
          client.Patch(http_root + "/health", "{}", "application/json"),
          client.Delete(http_root + "/circuit-breakers/jira_api"), client.Options(http_root + "/health")}) {
        REQUIRE(r);
        CHECK(r->status == 405);
        CHECK(r->get_header_value("Allow") == "GET, HEAD");
        CHECK(r->body.starts_with(R"({"error":{"code":"method_not_allowed",)"));
    }
    for (const char* path : {"/", "/nope", "/circuit-breakers/nope"}) {
        INFO(path);
        const auto r = client.Get(http_root + path);
        REQUIRE(r);
        CHECK(r->status == 404);
        CHECK(r->body.starts_with(R"({"error":{"code":"not_found",)"));
    }
}

TEST_CASE("names with slashes, per cents and line ends round-trip over HTTP",
          "[httplib][monitoring_api][H-MON-11]") {
    http_fixture f;
    std::vector<rs::circuit_breaker> breakers;
    for (const char* name : {"a/b", "100%", "%2F", "..", "Zürich", "line\nend"}) {
        breakers.emplace_back(rs::circuit_breaker_config{.name = name}, f.reg);
    }
    const running_server server([&](httplib::Server& s) { rs::mount(s, rs::monitoring_api{f.reg}); });
    auto client = server.client();
    client.set_url_encode(false); // what follows is encoded

    for (const char* encoded : {"a%2Fb", "100%25", "%252F", "%2E%2E", "Z%C3%BCrich", "line%0Aend"}) {
        INFO(encoded);
        const auto r = client.Get(http_root + "/circuit-breakers/" + encoded);
        REQUIRE(r);
        CHECK(r->status == 200);
    }
    CHECK(client.Get(http_root + "/circuit-breakers/%zz")->status == 400);
    CHECK(client.Get(http_root + "/circuit-breakers/..%2fhealth")->status == 404);
}

/// A server's threads, with as little stack as is asked for. The second request waits for the first: one thread each.
class small_threads final : public httplib::TaskQueue {
public:
    explicit small_threads(std::size_t stack) : stack_(stack) {}
    void enqueue(std::function<void()> job) override {
        auto owned = std::make_unique<std::function<void()>>(std::move(job));
        pthread_attr_t attributes;
        pthread_t thread{};
        // On the server's thread, where Catch2 must not be called.
        if (pthread_attr_init(&attributes) != 0 || pthread_attr_setstacksize(&attributes, stack_) != 0 ||
            pthread_create(&thread, &attributes, run, owned.release()) != 0)
            std::abort();
        pthread_attr_destroy(&attributes);
        threads_.push_back(thread);
    }
    void shutdown() override {
        for (const pthread_t each : threads_) pthread_join(each, nullptr);
    }

private:
    static void* run(void* job) {
        const std::unique_ptr<std::function<void()>> owned(static_cast<std::function<void()>*>(job));
        (*owned)();
        return nullptr;
    }

    std::size_t stack_;
    std::vector<pthread_t> threads_;
};

TEST_CASE("a path of any length is answered on a small stack", "[httplib][monitoring_api][H-USE-25]") {
    // A sanitizer's frames are larger.
    const std::size_t smallest = SANITIZED_ADDRESS || SANITIZED_THREAD ? 1024 * 1024 : 128 * 1024;
    const std::size_t stack = GENERATE_COPY(values<std::size_t>({smallest, 1024 * 1024}));
    const std::size_t length = GENERATE(values<std::size_t>({100, 470, 904, 7'276, 8'000}));
    http_fixture f;
    const running_server server([&](httplib::Server& s) {
        s.new_task_queue = [stack] { return new small_threads(stack); };
        rs::mount(s, rs::monitoring_api{f.reg});
        s.Get("/mine",
              [](const httplib::Request&, httplib::Response& r) { r.set_content("mine", "text/plain"); });
    });
    auto client = server.client();
    const std::string tail(length, 'x');

    // The longest has 512 bytes: "/api/v1/resilience/circuit-breakers/" is 36 of them.
    const auto ours = client.Get(http_root + "/circuit-breakers/" + tail);
    const auto command = client.Post(http_root + "/circuit-breakers/" + tail, "{}", "application/json");
    const auto change = client.Patch(http_root + "/policies/" + tail, "{}", "application/json");
    const auto removal = client.Delete(http_root + "/policies/" + tail);
    const auto foreign = client.Get("/" + tail);

    REQUIRE((ours && command && change && removal && foreign));
    CHECK(ours->status == (length <= 470 ? 404 : 414));
    CHECK(command->status == (length <= 470 ? 405 : 414));
    CHECK(change->status == (length <= 470 ? 405 : 414));
    CHECK(removal->status == (length <= 470 ? 405 : 414));
    CHECK(foreign->status == (length < 512 ? 404 : 414));
    CHECK(client.Get("/mine")->body == "mine");
    CHECK(client.Get(http_root + "/live")->status == 200);
}

TEST_CASE(
    "the program's own pre-routing handler runs first, and its logger sees the paths that were asked for",
    "[httplib][monitoring_api]") {
    http_fixture f;
    std::mutex mutex;
    std::vector<std::string> logged; // guarded by mutex
    const running_server server([&](httplib::Server& s) {
        rs::mount(s, rs::monitoring_api{f.reg},
                  {.pre_routing = [](const httplib::Request& request, httplib::Response& response) {
                      if (request.path != http_root + "/health")
                          return httplib::Server::HandlerResponse::Unhandled;
                      response.status = 403;
                      return httplib::Server::HandlerResponse::Handled;
                  }});
        s.set_logger([&](const httplib::Request& request, const httplib::Response&) {
            const std::lock_guard lock(mutex);
            logged.push_back(request.method + " " + request.path);
        });
    });
    auto client = server.client();

    CHECK(client.Get(http_root + "/health")->status == 403);
    CHECK(client.Get(http_root + "/live")->status == 200);
    CHECK(client.Post(http_root + "/circuit-breakers/a%2Fb/reset", "{}", "application/json")->status == 404);
    for (bool all = false; !all; std::this_thread::yield()) { // an answer is logged after it was sent
        const std::lock_guard lock(mutex);
        all = logged.size() == 3;
    }
    const std::lock_guard lock(mutex);
    std::ranges::sort(logged);
    CHECK(logged[0] == "GET " + http_root + "/health");
    CHECK(logged[1] == "GET " + http_root + "/live");
    CHECK(logged[2] == "POST " + http_root + "/circuit-breakers/a/b/reset");
}

TEST_CASE("the short path of requests with a body is no resource", "[httplib][monitoring_api]") {
    http_fixture f;
    const running_server server([&](httplib::Server& s) { rs::mount(s, rs::monitoring_api{f.reg}); });

    CHECK(server.client().Post("resilience", "{}", "application/json")->status >= 400);
}

TEST_CASE("streams of events take at most half of a server's threads", "[httplib][event_stream][H-USE-26]") {
    http_fixture f;
    const auto log = std::make_shared<rs::event_log>(f.reg);
    const rs::monitoring_api api(f.reg, {.events = log, .max_streams = 10});
    const std::size_t threads = GENERATE(values<std::size_t>({1, 2, 4}));
    const running_server server([&](httplib::Server& s) {
        s.new_task_queue = [threads] { return new httplib::ThreadPool(threads); };
        rs::mount(s, api, {.threads = threads});
    });
    std::atomic<std::size_t> open{0};
    std::atomic<bool> over{false};
    std::vector<std::thread> readers;
    for (std::size_t i = 0; i < threads / 2; ++i) {
        readers.emplace_back([&] {
            server.client().Get(http_root + "/events/stream",
                                [&, first = true](const char*, std::size_t) mutable {
                                    if (first) ++open;
                                    first = false;
                                    return !over;
                                });
        });
    }
    while (open < threads / 2) std::this_thread::yield();

    CHECK(server.client().Get(http_root + "/events/stream")->status == 503);
    CHECK(server.client().Get(http_root + "/live")->status == 200);

    over = true;
    log->close();
    for (std::thread& each : readers) each.join();
}

TEST_CASE("a stream that is refused gives its thread back at once", "[httplib][event_stream][H-USE-26]") {
    http_fixture f;
    const rs::monitoring_api api(f.reg, {.events = std::make_shared<rs::event_log>(f.reg)});
    const running_server server([&](httplib::Server& s) {
        s.new_task_queue = [] { return new httplib::ThreadPool(1); };
        s.set_keep_alive_timeout(3600);
        rs::mount(s, api, {.threads = 1});
    });
    auto kept = server.client();
    kept.set_keep_alive(true);

    const auto refused = kept.Get(http_root + "/events/stream");

    REQUIRE(refused);
    CHECK(refused->status == 503);
    CHECK(refused->get_header_value("Connection") == "close");
    CHECK(refused->body.find("too_many_streams") != std::string::npos);
    const auto live = server.client().Get(http_root + "/live"); // while `kept` would keep its connection
    REQUIRE(live);
    CHECK(live->status == 200);
}

TEST_CASE("long bodies are sent in chunks, as a whole where there are none", "[httplib][monitoring_api]") {
    http_fixture f;
    std::vector<rs::circuit_breaker> circuits;
    for (int i = 0; i < 300; ++i)
        circuits.emplace_back(rs::circuit_breaker_config{.name = "circuit_" + std::to_string(i)}, f.reg);
    const rs::monitoring_api api(f.reg);
    const running_server server([&](httplib::Server& s) { rs::mount(s, api); });
    auto client = server.client();

    for (const std::string& path : {http_root + "/policies", std::string("/metrics")}) {
        const std::string whole = api.handle({.method = "GET", .target = path}).body;
        const auto chunked = client.Get(path);
        const auto head = client.Head(path);

        REQUIRE((chunked && head));
        CHECK(chunked->get_header_value("Transfer-Encoding") == "chunked");
        CHECK(chunked->body == whole);
        CHECK(head->get_header_value("Content-Length") == std::to_string(whole.size()));
    }
}

TEST_CASE("a server without threads is refused", "[httplib][monitoring_api]") {
    http_fixture f;
    httplib::Server server;

    CHECK_THROWS_WITH(rs::mount(server, rs::monitoring_api{f.reg}, {.threads = 0}),
                      "mount_options.threads is 0; it must be 1 or more");
    CHECK_THROWS_WITH(rs::mount(server, rs::monitoring_api{f.reg}, {.longest_path = 511}),
                      "mount_options.longest_path is 511; it must be 512 or more");
}

TEST_CASE("commands and changes are made over HTTP", "[httplib][monitoring_api]") {
    http_fixture f;
    const rs::circuit_breaker breaker{{.name = "jira_api"}, f.reg};
    const running_server server([&](httplib::Server& s) {
        rs::mount(s, rs::monitoring_api(f.reg, {.control = true,
                                                .authorize = rs::bearer_token("0123456789abcdef"),
                                                .read_changes = rs::read_json_changes}));
    });
    auto client = server.client();
    const httplib::Headers may{{"X-Resilience-Control", "1"}, {"Authorization", "Bearer 0123456789abcdef"}};

    const auto opened =
        client.Post((http_root + "/circuit-breakers/jira_api/force-open?reason=a%20test").c_str(), may);
    const auto changed = client.Patch(http_root + "/policies/jira_api", may, R"({"failure_threshold": 7})",
                                      "application/json");
    const auto refused = client.Post((http_root + "/circuit-breakers/jira_api/reset").c_str());

    REQUIRE((opened && changed && refused));
    CHECK(opened->status == 200);
    CHECK(opened->body.starts_with(R"({"state":"forced_open","failure_count":0,"failure_threshold":5,)"));
    CHECK(breaker.stats().reason == "a test");
    CHECK(changed->status == 200);
    CHECK(breaker.config().failure_threshold == 7U);
    CHECK(refused->status == 403);
    CHECK(breaker.state() == rs::circuit_state::forced_open);
}

TEST_CASE("a header that stands there twice decides nothing", "[httplib][monitoring_api]") {
    http_fixture f;
    const rs::circuit_breaker breaker{{.name = "jira_api"}, f.reg};
    const running_server server([&](httplib::Server& s) {
        rs::mount(s, rs::monitoring_api(
                         f.reg, {.control = true, .authorize = rs::bearer_token("0123456789abcdef")}));
    });
    const auto status = [&](const std::string& more) {
        httplib::Headers headers{{"X-Resilience-Control", "1"}, {"Authorization", "Bearer 0123456789abcdef"}};
        if (!more.empty()) headers.emplace("Authorization", more);
        return server.client()
            .Post((http_root + "/circuit-breakers/jira_api/reset").c_str(), headers)
            ->status;
    };

    CHECK(status("") == 200);
    CHECK(status("Bearer other") == 401);
}

TEST_CASE("authorize sees the peer's address, not one that a client made up", "[httplib][monitoring_api]") {
    http_fixture f;
    const rs::circuit_breaker breaker{{.name = "jira_api"}, f.reg};
    std::string seen;
    const running_server server([&](httplib::Server& s) {
        rs::mount(s, rs::monitoring_api(f.reg, {.control = true, .authorize = [&](const rs::http_request& r) {
                                                    seen = r.header("REMOTE_ADDR");
                                                    return true;
                                                }}));
    });
    const httplib::Headers headers{{"X-Resilience-Control", "1"}, {"REMOTE_ADDR", "10.0.0.1"}};

    server.client().Post((http_root + "/circuit-breakers/jira_api/reset").c_str(), headers);

    CHECK(seen == "127.0.0.1");
}

TEST_CASE("a body that is too long is neither kept nor taken for the next request",
          "[httplib][monitoring_api][H-MON-04]") {
    http_fixture f;
    const rs::circuit_breaker breaker{{.name = "jira_api"}, f.reg};
    const running_server server([&](httplib::Server& s) {
        rs::mount(s, rs::monitoring_api(f.reg, {.control = true,
                                                .authorize = [](const rs::http_request&) { return true; },
                                                .read_changes = rs::read_json_changes}));
    });
    auto client = server.client();
    client.set_keep_alive(true);
    const httplib::Headers may{{"X-Resilience-Control", "1"}};
    const std::string long_body(1'000'000, ' ');

    CHECK(client.Patch(http_root + "/policies/jira_api", may, long_body, "application/json")->status == 413);
    CHECK(client.Get(http_root + "/health")->status == 200);
    CHECK(client.Post(http_root + "/health", long_body, "text/plain")->status == 405);
    const httplib::MultipartFormDataItems form{{"a", long_body, "", ""}};
    CHECK(client.Post(http_root + "/health", form)->status == 405);
    CHECK(client.Get(http_root + "/health")->status == 200);
    CHECK(client.Delete(http_root + "/health")->status == 405);
    CHECK(client.Delete(http_root + "/health", long_body, "text/plain")->status == 405);
    CHECK(client.Get(http_root + "/health")->status == 200);
}

TEST_CASE("events are streamed over HTTP, and a stream ends with the server",
          "[httplib][event_stream][H-MON-05]") {
    http_fixture f;
    const auto log = std::make_shared<rs::event_log>(f.reg);
    const rs::circuit_breaker breaker{{.name = "jira_api"}, f.reg};
    const rs::monitoring_api api(f.reg, {.events = log, .max_streams = 1});
    std::string got;
    std::atomic<bool> begun{false};
    std::atomic<bool> told{false};
    std::thread reader; // until after the server's end
    {
        const running_server server([&](httplib::Server& s) { rs::mount(s, api); });
        reader = std::thread([&, port = server.port()] {
            httplib::Client client("127.0.0.1", port);
            client.Get(
                http_root + "/events/stream",
                [&](const httplib::Response& r) {
                    return r.get_header_value("Content-Type") == "text/event-stream";
                },
                [&](const char* data, std::size_t size) {
                    got.append(data, size);
                    begun = true;
                    if (got.find("state_changed") != std::string::npos) told = true;
                    return true; // for as long as the server sends
                });
            begun = told = true; // whatever came of it
        });
        while (!begun) std::this_thread::yield();
        CHECK(server.client().Get(http_root + "/events/stream")->status == 503);
        breaker.force_open();
        while (!told) std::this_thread::yield();
    } // the server stops here, its stream open
    reader.join();

    CHECK(got.starts_with("retry: 2000\n\nid: 1\nevent: state_changed\ndata: {\"number\":1,"));
    while (api.handle({.method = "GET", .target = http_root + "/events/stream"}).status != 200)
        std::this_thread::yield(); // its place is free again
}

TEST_CASE("a client that goes gives its stream's place back", "[httplib][event_stream][H-MON-06]") {
    http_fixture f;
    const auto log = std::make_shared<rs::event_log>(f.reg);
    const rs::circuit_breaker breaker{{.name = "jira_api"}, f.reg};
    const rs::monitoring_api api(f.reg, {.events = log, .max_streams = 1});
    const running_server server([&](httplib::Server& s) { rs::mount(s, api); });

    server.client().Get(http_root + "/events/stream", [](const char*, std::size_t) { return false; });

    while (api.handle({.method = "GET", .target = http_root + "/events/stream"}).status != 200) {
        breaker.reset(); // something to send, on which it is noticed
        std::this_thread::yield();
    }
}

TEST_CASE("clients that hang up amid the answer end nothing", "[httplib][monitoring_api]") {
    http_fixture f;
    std::vector<rs::circuit_breaker> breakers;
    for (int i = 0; i < 500; ++i)
        breakers.emplace_back(rs::circuit_breaker_config{.name = "circuit_" + std::to_string(i)}, f.reg);
    const running_server server([&](httplib::Server& s) {
        rs::mount(s, rs::monitoring_api{f.reg});
        s.set_socket_options([](socket_t listener) { // the answer must not fit
            const int small = 4096;
            ::setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
        });
    });
    const std::string request = "GET " + http_root + "/circuit-breakers HTTP/1.1\r\nHost: x\r\n\r\n";

    for (int i = 0; i < 20; ++i) {
        const int s = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        REQUIRE(s >= 0);
        const int small = 2048;
        REQUIRE(::setsockopt(s, SOL_SOCKET, SO_RCVBUF, &small, sizeof small) == 0);
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(static_cast<std::uint16_t>(server.port()));
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        REQUIRE(::connect(s, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
        REQUIRE(::send(s, request.data(), request.size(), MSG_NOSIGNAL) ==
                static_cast<ssize_t>(request.size()));
        char first = 0;
        REQUIRE(::recv(s, &first, 1, 0) == 1);
        const linger reset{.l_onoff = 1, .l_linger = 0}; // close() sends RST
        REQUIRE(::setsockopt(s, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0);
        ::close(s);
    }

    auto client = server.client();
    CHECK(client.Get(http_root + "/health")->status == 200);
}

} // namespace
