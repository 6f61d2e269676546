// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <resilience/retry.hpp>
#include <resilience/testing/recorder.hpp>
#include <resilience/testing/virtual_clock.hpp>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using kind = rs::event_kind;

void fail_twice(const rs::retry& retry) {
    int calls = 0;
    retry([&] {
        if (++calls < 3) throw std::runtime_error("down");
    });
}

TEST_CASE("a recorder keeps the events of a registry in order", "[recorder]") {
    rs::testing::virtual_clock clock;
    rs::registry reg{clock};
    const rs::retry retry{{.name = "jira_api", .base_delay = 1s, .jitter = rs::jitter::none}, reg};
    const rs::testing::recorder recorder{reg};
    CHECK(recorder.empty());
    CHECK_FALSE(recorder.last().has_value());

    fail_twice(retry);

    CHECK(recorder.kinds() == std::vector{kind::attempt_failed, kind::retry_scheduled, kind::attempt_failed,
                                          kind::retry_scheduled, kind::call_succeeded_after_retry});
    CHECK(recorder.names() == std::vector<std::string>{"attempt_failed", "retry_scheduled", "attempt_failed",
                                                       "retry_scheduled", "call_succeeded_after_retry"});
    CHECK(recorder.size() == 5);
    CHECK(recorder.events().front().policy == "jira_api");
    CHECK(recorder.last()->kind == kind::call_succeeded_after_retry);
}

TEST_CASE("a recorder tells the events of one kind", "[recorder]") {
    rs::testing::virtual_clock clock;
    rs::registry reg{clock};
    const rs::retry retry{{.base_delay = 1s, .jitter = rs::jitter::none}, reg};
    const rs::testing::recorder recorder{reg};

    fail_twice(retry);

    const auto failed = recorder.of_kind(kind::attempt_failed);
    REQUIRE(failed.size() == 2);
    CHECK(failed[0].attempt == 1);
    CHECK(failed[0].delay == 1s);
    CHECK(failed[1].attempt == 2);
    CHECK(failed[1].delay == 2s);
    CHECK(recorder.count(kind::timed_out) == 0);
}

TEST_CASE("a scheduled retry is told with the number of the attempt that will start", "[recorder][retry]") {
    rs::testing::virtual_clock clock;
    rs::registry reg{clock};
    const rs::retry retry{{.base_delay = 1s, .jitter = rs::jitter::none}, reg};
    const rs::testing::recorder recorder{reg};

    fail_twice(retry);

    const auto scheduled = recorder.of_kind(kind::retry_scheduled);
    REQUIRE(scheduled.size() == 2);
    CHECK(scheduled[0].attempt == 2);
    CHECK(scheduled[1].attempt == 3);
}

TEST_CASE("a recorder that is cleared goes on recording", "[recorder]") {
    rs::testing::virtual_clock clock;
    rs::registry reg{clock};
    const rs::retry retry{{}, reg};
    rs::testing::recorder recorder{reg};
    fail_twice(retry);

    recorder.clear();
    CHECK(recorder.empty());

    fail_twice(retry);
    CHECK(recorder.size() == 5);
}

TEST_CASE("a recorder hears only its own registry, and nothing after its end", "[recorder]") {
    rs::testing::virtual_clock clock;
    rs::registry mine{clock};
    rs::registry other{clock};
    const rs::testing::recorder recorder{mine};
    auto second = std::make_unique<rs::testing::recorder>(mine);
    second.reset();

    fail_twice(rs::retry{{}, other});
    CHECK(recorder.empty());

    fail_twice(rs::retry{{}, mine});
    CHECK(recorder.size() == 5);
    CHECK(mine.listener_errors() == 0);
}

TEST_CASE("a recorder counts every event of several threads", "[recorder]") {
    rs::testing::virtual_clock clock;
    rs::registry reg{clock};
    const rs::retry retry{{.budget = rs::retry_budget::unlimited()}, reg};
    const rs::testing::recorder recorder{reg};

    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 50; ++i) fail_twice(retry);
        });
    }
    for (auto& t : threads) t.join();

    CHECK(recorder.size() == 4 * 50 * 5);
}

} // namespace
