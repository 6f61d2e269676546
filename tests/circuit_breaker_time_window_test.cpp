// SPDX-License-Identifier: Apache-2.0
#include <resilience/circuit_breaker.hpp>
#include <resilience/registry.hpp>
#include <resilience/testing/virtual_clock.hpp>

#include "support/catch.hpp"
#include "support/circuits.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace {

namespace rs = resilience;
using circuits::circuit_world;
using circuits::fail;
using circuits::succeed;
using rs::circuit_state;
using namespace std::chrono_literals;

/// The rate rules over a time window of ten seconds, as a list of all results.
class listed_window {
public:
    explicit listed_window(const rs::circuit_breaker_config& config) : config_(config) {}

    /// True if the result trips.
    bool record(rs::time_point now, bool failed, bool slow) {
        if (!origin_) origin_ = now;
        const auto bucket = (now - *origin_) / 1s;
        std::erase_if(results_, [&](const result& r) { return bucket - r.bucket >= 10; });
        const bool had_enough = results_.size() >= config_.minimum_calls;
        results_.push_back({bucket, failed, slow});
        if (results_.size() < config_.minimum_calls || (had_enough && !failed && !slow)) return false;
        return reaches(config_.failure_rate_threshold, &result::failed) ||
               reaches(config_.slow_call_rate_threshold, &result::slow);
    }

private:
    struct result {
        std::int64_t bucket;
        bool failed;
        bool slow;
    };
    bool reaches(std::optional<double> share, bool result::* what) const {
        const auto bad =
            std::count_if(results_.begin(), results_.end(), [&](const result& r) { return r.*what; });
        return share && static_cast<double>(bad) / static_cast<double>(results_.size()) >= *share;
    }

    const rs::circuit_breaker_config config_;
    std::optional<rs::time_point> origin_;
    std::vector<result> results_;
};

TEST_CASE(
    "a time window judges as a list of all results does, with and without the slow-call rule, by any clock",
    "[circuit_breaker][H-USE-22]") {
    const bool with_slow_rule = GENERATE(false, true);
    const rs::duration tick = GENERATE(rs::duration{0ms}, rs::duration{300ms});
    int tripped = 0;
    for (unsigned seed = 0; seed < 300; ++seed) {
        std::mt19937 random{seed}; // NOLINT(cert-msc32-c,cert-msc51-cpp): the same histories every time
        circuit_world w;
        w.clock.set_coarse_resolution(tick, rs::duration{random() % 300'000'000});
        rs::circuit_breaker_config config{
            .failure_rate_threshold = static_cast<double>(1 + random() % 9) / 10.0,
            .window = rs::time_window{10s},
            .minimum_calls = 2 + static_cast<unsigned>(random() % 6)};
        if (with_slow_rule) {
            config.slow_call_duration = 150ms;
            config.slow_call_rate_threshold = static_cast<double>(1 + random() % 9) / 10.0;
        }
        const auto breaker = w.make(config);
        listed_window expected(config);
        std::string story;
        for (int i = 0; i < 100; ++i) {
            if (random() % 3 == 0) {
                const rs::duration pause =
                    std::chrono::milliseconds{random() % (seed % 2 == 0 ? 4'000 : 400)};
                w.clock.advance(pause);
                story += " +" + std::to_string(pause / 1ms);
                continue;
            }
            const bool failed = random() % 4 == 0, slow = random() % 5 == 0;
            story += failed ? " failure" : " success";
            if (slow) story += " (slow)";
            (void)breaker.try_call([&] {
                if (slow) w.clock.advance(151ms);
                if (failed) throw circuits::service_down();
            });
            const bool trips = expected.record(w.clock.now(), failed, slow && with_slow_rule);
            if ((breaker.state() == circuit_state::open) != trips) FAIL("seed " << seed << ":" << story);
            if (!trips) continue;
            ++tripped;
            break;
        }
    }
    CHECK(tripped > 100);
}

TEST_CASE("a success that brings a time window back to minimum_calls is judged where calls are timed",
          "[circuit_breaker][H-USE-22]") {
    circuit_world w;
    const auto breaker = w.make({.failure_rate_threshold = 0.5,
                                 .slow_call_duration = 1h,
                                 .slow_call_rate_threshold = 1.0,
                                 .window = rs::time_window{10s},
                                 .minimum_calls = 4});
    succeed(breaker, 20);
    w.clock.advance(5s);
    fail(breaker, 2);
    succeed(breaker);
    w.clock.advance(5s); // the first twenty are gone: three are left
    CHECK(breaker.state() == circuit_state::closed);

    succeed(breaker);

    CHECK(breaker.state() == circuit_state::open);
}

} // namespace
