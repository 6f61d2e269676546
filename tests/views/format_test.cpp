// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <resilience/format.hpp>

#include <chrono>
#include <stdexcept>
#include <string>

#include <fmt/chrono.h>
#include <fmt/format.h>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;

const std::string open_message = "circuit 'jira_api' is open; next probe in 2.4s";

TEST_CASE("states and kinds of events are formatted as their names", "[format]") {
    CHECK(fmt::format("{}", rs::circuit_state::half_open) == "half_open");
    CHECK(fmt::format("{}", rs::circuit_state::forced_open) == "forced_open");
    CHECK(fmt::format("[{:>8}]", rs::circuit_state::open) == "[    open]");
    CHECK(fmt::format("{}", rs::event_kind::call_succeeded_after_retry) == "call_succeeded_after_retry");
}

TEST_CASE("durations are formatted readably through a wrapper, beside std::chrono's own formatters",
          "[format]") {
    CHECK(fmt::format("{}", rs::readable{2400ms}) == "2.4s");
    CHECK(fmt::format("{:>6}|", rs::readable{350ms}) == " 350ms|");
    CHECK(fmt::format("{}", rs::readable{rs::duration::min()}).starts_with("-9223372036.8s"));
    CHECK(fmt::format("{}", 350ms) == "350ms");
}

TEST_CASE("errors are formatted as their message, whichever of our types they have", "[format]") {
    const rs::circuit_open_error derived(rs::errc::circuit_open, "jira_api", open_message, 2400ms);
    const rs::error& base = derived;

    CHECK(fmt::format("{}", derived) == open_message);
    CHECK(fmt::format("{}", base) == open_message);
    CHECK(fmt::format("{:.7}", base) == "circuit");
    CHECK(fmt::format("{}", rs::timeout_error(rs::errc::timed_out, "", "late")) == "late");
    CHECK(fmt::format("{}", rs::retries_exhausted_error(rs::errc::retries_exhausted, "", "all failed")) ==
          "all failed");
}

TEST_CASE("failures are formatted as their message", "[format]") {
    const rs::failure refused(rs::rejection{
        .code = rs::errc::circuit_open, .policy = rs::detail::name("jira_api"), .retry_after = 2400ms});
    const rs::failure thrown(std::make_exception_ptr(std::runtime_error("down {}")));

    CHECK(fmt::format("{}", refused) == open_message);
    CHECK(fmt::format("{}", thrown) == "down {}");
}

} // namespace
