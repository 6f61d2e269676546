// SPDX-License-Identifier: Apache-2.0
// A race that ends while its attempt takes a stop token.
//
// Breaks of the headers that were made by hand and were found:
//   the source is not looked for when the race ends, or the end not when the source comes
#include "schedules/explore.hpp"

#include <resilience/call/stop_relay.hpp>

#include <stop_token>

namespace {

namespace rs = resilience;
using schedules::explore;
using schedules::together;

TEST_CASE("an attempt that takes its stop token while its race ends is asked to end", "[stop_relay]") {
    const auto scenario = [] {
        rs::detail::stop_relay relay;
        const std::stop_source source;

        together([&] { relay.pass_on_to(source); }, [&] { relay.request(); });

        EXPECT(source.stop_requested());
    };

    explore("pass on and request", {.within = {3, 1}}, scenario);
}

} // namespace
