// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <resilience/env.hpp>

#include <chrono>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace a_users_policies {

// Their kinds begin with those of the library's, or with one another.
struct retry_quota_config {
    static constexpr std::string_view policy_kind = "retry_quota";
    unsigned per_minute = 60;
};
void fields(retry_quota_config& c, auto&& visit) { visit("per_minute", c.per_minute); }
struct retry_quota_burst_config {
    static constexpr std::string_view policy_kind = "retry_quota_burst";
    explicit retry_quota_burst_config(unsigned most) : size(most) {}
    unsigned size;
};
void fields(retry_quota_burst_config& c, auto&& visit) { visit("size", c.size); }
struct circuit_slow_config {
    static constexpr std::string_view policy_kind = "circuit_slow";
    unsigned most = 3;
};
void fields(circuit_slow_config& c, auto&& visit) { visit("most", c.most); }
struct abandoning_config {
    static constexpr std::string_view policy_kind = "own";
    static constexpr std::string_view variables = "abandoning";
    unsigned most = 3;
};
void fields(abandoning_config& c, auto&& visit) { visit("most", c.most); }
struct tuned_retry_config {
    static constexpr std::string_view policy_kind = "retry";
    unsigned hurry = 3;
};
void fields(tuned_retry_config& c, auto&& visit) { visit("hurry", c.hurry); }

} // namespace a_users_policies

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;

using variables = std::map<std::string, std::string>;

rs::variable_getter getter(const variables& set) {
    return [&set](const char* name) {
        const auto found = set.find(name);
        return found == set.end() ? nullptr : found->second.c_str();
    };
}
template <class Config>
Config read(const variables& set, Config config = {}) {
    return rs::from_env("JIRA", std::move(config), getter(set));
}
template <class Config>
std::string complaint(const variables& set, Config config = {}) {
    try {
        read(set, std::move(config));
    } catch (const std::invalid_argument& e) {
        return e.what();
    }
    return "no complaint";
}
rs::duration limit(const std::string& text) {
    return read<rs::timeout_config>({{"JIRA_TIMEOUT_LIMIT", text}}).limit;
}
bool refuses(const std::string& name, const std::string& text) {
    return complaint<rs::retry_config>({{name, text}}).starts_with(name + "='" + text + "': it must be ");
}

/// Read while static objects are made: the program's list of kinds may not have this one yet.
const rs::retry_config read_before_main =
    rs::from_env("EARLY", rs::retry_config{}, [](const char* name) -> const char* {
        return std::string_view(name) == "EARLY_RETRY_MAX_ATTEMPTS" ? "7" : nullptr;
    });

TEST_CASE("variables are read before main, too", "[env]") { CHECK(read_before_main.max_attempts == 7); }

TEST_CASE("variables that are not set leave a config as it is", "[env]") {
    const auto c = read<rs::retry_config>({{"OTHER_RETRY_MAX_ATTEMPTS", "9"}, {"JIRA_CIRCUIT_WINDOW", "x"}},
                                          {.name = "jira_api", .max_attempts = 4, .max_elapsed = 5s});

    CHECK(c.name == "jira_api");
    CHECK(c.max_attempts == 4);
    CHECK(c.base_delay == 1s);
    CHECK(c.max_elapsed == 5s);
}

TEST_CASE("every setting of a retry can be given by a variable", "[env]") {
    const auto c = read<rs::retry_config>({{"JIRA_RETRY_MAX_ATTEMPTS", "5"},
                                           {"JIRA_RETRY_BASE_DELAY", "250ms"},
                                           {"JIRA_RETRY_MAX_DELAY", "2m"},
                                           {"JIRA_RETRY_STRATEGY", "decorrelated"},
                                           {"JIRA_RETRY_MULTIPLIER", "1.5"},
                                           {"JIRA_RETRY_JITTER", "proportional"},
                                           {"JIRA_RETRY_JITTER_RATIO", "25%"},
                                           {"JIRA_RETRY_MAX_ELAPSED", "1h"},
                                           {"JIRA_RETRY_RESPECT_RETRY_AFTER", "false"},
                                           {"JIRA_RETRY_MAX_RETRY_AFTER", "90s"},
                                           {"JIRA_RETRY_NESTED", "outermost_only"},
                                           {"JIRA_RETRY_WRAP_EXHAUSTED", "1"},
                                           {"JIRA_RETRY_MAX_TRANSPARENT", "2"},
                                           {"JIRA_RETRY_NAME", "an identity is no setting"}},
                                          {.name = "jira_api"});

    CHECK(c.name == "jira_api");
    CHECK(c.max_attempts == 5);
    CHECK(c.base_delay == 250ms);
    CHECK(c.max_delay == 2min);
    CHECK(c.strategy == rs::backoff::decorrelated);
    CHECK(c.multiplier == 1.5);
    CHECK(c.jitter == rs::jitter::proportional);
    CHECK(c.jitter_ratio == 0.25);
    CHECK(c.max_elapsed == 1h);
    CHECK_FALSE(c.respect_retry_after);
    CHECK(c.max_retry_after == 90s);
    CHECK(c.nested == rs::nested_retry::outermost_only);
    CHECK(c.wrap_exhausted);
    CHECK(c.max_transparent == 2);
}

TEST_CASE("every setting of a circuit breaker can be given by a variable", "[env]") {
    const auto c = read<rs::circuit_breaker_config>({{"JIRA_CIRCUIT_FAILURE_THRESHOLD", "7"},
                                                     {"JIRA_CIRCUIT_SUCCESS_THRESHOLD", "3"},
                                                     {"JIRA_CIRCUIT_RECOVERY_TIMEOUT", "45s"},
                                                     {"JIRA_CIRCUIT_FAILURE_WINDOW", "1.5m"},
                                                     {"JIRA_CIRCUIT_HALF_OPEN_MAX_CALLS", "1"},
                                                     {"JIRA_CIRCUIT_PROBE_LEASE", "20s"},
                                                     {"JIRA_CIRCUIT_CONSECUTIVE_FAILURES", "4"},
                                                     {"JIRA_CIRCUIT_FAILURE_RATE_THRESHOLD", "50%"},
                                                     {"JIRA_CIRCUIT_SLOW_CALL_DURATION", "800ms"},
                                                     {"JIRA_CIRCUIT_SLOW_CALL_RATE_THRESHOLD", "0.07"},
                                                     {"JIRA_CIRCUIT_WINDOW", "60s"},
                                                     {"JIRA_CIRCUIT_MINIMUM_CALLS", "10"},
                                                     {"JIRA_CIRCUIT_RECOVERY_BACKOFF_MULTIPLIER", "3"},
                                                     {"JIRA_CIRCUIT_RECOVERY_BACKOFF_CAP", "5m"},
                                                     {"JIRA_CIRCUIT_RECOVERY_BACKOFF_JITTER", "equal"},
                                                     {"JIRA_CIRCUIT_HALF_OPEN_FAILURE_RATE", "50%"},
                                                     {"JIRA_CIRCUIT_HALF_OPEN_QUIET", "10m"}});

    CHECK(c.failure_threshold == 7U);
    CHECK(c.success_threshold == 3);
    CHECK(c.recovery_timeout == 45s);
    CHECK(c.failure_window == 90s);
    CHECK(c.half_open_max_calls == 1U);
    CHECK(c.probe_lease == 20s);
    CHECK(c.consecutive_failures == 4U);
    CHECK(c.failure_rate_threshold == 0.5);
    CHECK(c.slow_call_duration == 800ms);
    CHECK(c.slow_call_rate_threshold == 0.07);
    CHECK(std::get<rs::time_window>(c.window).length == 60s);
    CHECK(c.minimum_calls == 10);
    REQUIRE(c.recovery_backoff.has_value());
    CHECK(c.recovery_backoff->multiplier == 3.0);
    CHECK(c.recovery_backoff->cap == 5min);
    CHECK(c.recovery_backoff->jitter == rs::jitter::equal);
    CHECK(c.half_open_failure_rate == 0.5);
    CHECK(c.half_open_quiet == 10min);
}

TEST_CASE("every setting of a timeout can be given by a variable", "[env]") {
    const auto c =
        read<rs::timeout_config>({{"JIRA_TIMEOUT_LIMIT", "2s"}, {"JIRA_TIMEOUT_KEEP_LATE", "true"}});

    CHECK(c.limit == 2s);
    CHECK(c.keep_late);
}

TEST_CASE("every setting of an abandoning timeout can be given by a variable", "[env]") {
    const auto c = read<rs::abandoning_timeout_config>({{"JIRA_ABANDONING_TIMEOUT_LIMIT", "5s"},
                                                        {"JIRA_ABANDONING_TIMEOUT_MAX_ABANDONED", "8"},
                                                        {"JIRA_TIMEOUT_LIMIT", "of another kind"}},
                                                       {.name = "jira_api"});

    CHECK(c.name == "jira_api");
    CHECK(c.limit == 5s);
    CHECK(c.max_abandoned == 8);
}

TEST_CASE("a window is a number of calls or a time", "[env]") {
    const auto window = [](const std::string& text) {
        return read<rs::circuit_breaker_config>({{"JIRA_CIRCUIT_WINDOW", text}}).window;
    };

    CHECK(std::get<rs::count_window>(window("250")).size == 250);
    CHECK(std::get<rs::time_window>(window("2.5s")).length == 2500ms);
}

TEST_CASE("any variable of recovery_backoff turns it on, its other fields are the defaults", "[env]") {
    CHECK_FALSE(read<rs::circuit_breaker_config>({}).recovery_backoff.has_value());

    const auto c = read<rs::circuit_breaker_config>({{"JIRA_CIRCUIT_RECOVERY_BACKOFF_CAP", "2m"}});
    REQUIRE(c.recovery_backoff.has_value());
    CHECK(c.recovery_backoff->cap == 2min);
    CHECK(c.recovery_backoff->multiplier == 2.0);
}

TEST_CASE("off unsets an optional field and nothing else", "[env]") {
    CHECK(read<rs::retry_config>({{"JIRA_RETRY_MAX_ELAPSED", "off"}}, {.max_elapsed = 5s}).max_elapsed ==
          std::nullopt);
    CHECK(read<rs::circuit_breaker_config>({{"JIRA_CIRCUIT_FAILURE_RATE_THRESHOLD", "off"}},
                                           {.failure_rate_threshold = 0.5})
              .failure_rate_threshold == std::nullopt);
    CHECK(refuses("JIRA_RETRY_MAX_ATTEMPTS", "off"));
}

TEST_CASE("blanks and line ends around a value do not count", "[env][H-USE-24]") {
    CHECK(limit("5s\n") == 5s);
    CHECK(limit("5s\r\n") == 5s);
    CHECK(limit(" \t5s \v\f") == 5s);
    const auto c = read<rs::retry_config>({{"JIRA_RETRY_MAX_ATTEMPTS", "5\n"},
                                           {"JIRA_RETRY_JITTER", " none"},
                                           {"JIRA_RETRY_JITTER_RATIO", "25%\n"},
                                           {"JIRA_RETRY_WRAP_EXHAUSTED", "true\n"},
                                           {"JIRA_RETRY_MAX_ELAPSED", "off\n"}},
                                          {.max_elapsed = 5s});
    CHECK(c.max_attempts == 5);
    CHECK(c.jitter == rs::jitter::none);
    CHECK(c.jitter_ratio == 0.25);
    CHECK(c.wrap_exhausted);
    CHECK_FALSE(c.max_elapsed);
    CHECK(refuses("JIRA_RETRY_BASE_DELAY", "5 s"));
    CHECK(complaint<rs::retry_config>({{"JIRA_RETRY_BASE_DELAY", "five\n"}})
              .starts_with("JIRA_RETRY_BASE_DELAY='five': it must be "));
}

TEST_CASE("an empty variable is an unset one", "[env][H-USE-24]") {
    for (const char* empty : {"", " ", "\n", " \r\n\t"}) {
        const auto c = read<rs::retry_config>({{"JIRA_RETRY_MAX_ATTEMPTS", empty},
                                               {"JIRA_RETRY_BASE_DELAY", empty},
                                               {"JIRA_RETRY_STRATEGY", empty},
                                               {"JIRA_RETRY_MAX_ELAPSED", empty}},
                                              {.max_attempts = 4, .max_elapsed = 5s});
        CHECK(c.max_attempts == 4);
        CHECK(c.base_delay == 1s);
        CHECK(c.max_elapsed == 5s);
        CHECK_FALSE(read<rs::circuit_breaker_config>({{"JIRA_CIRCUIT_RECOVERY_BACKOFF_CAP", empty}})
                        .recovery_backoff.has_value());
    }
}

/// The names of the variables are known as well.
rs::env_options listed(const variables& set, bool strict = true) {
    return {.strict = strict, .get = getter(set), .names = [&set] {
                std::vector<std::string> names;
                for (const auto& each : set) names.push_back(each.first);
                return names;
            }};
}

TEST_CASE("a variable that begins as the config's do and is no setting is refused", "[env][H-USE-24]") {
    struct row {
        std::string name;
        std::string nearest;
    };
    const row misspelt = GENERATE(values<row>({
        {"JIRA_RETRY_MAX_ATTEMPT", "JIRA_RETRY_MAX_ATTEMPTS"},
        {"JIRA_RETRY_BASE_DELAI", "JIRA_RETRY_BASE_DELAY"},
        {"JIRA_RETRY_BASEDELAY", "JIRA_RETRY_BASE_DELAY"},
        {"JIRA_RETRY_JITER", "JIRA_RETRY_JITTER"},
    }));
    const variables set{{misspelt.name, "a secret"}};
    const auto read_all = [&] { (void)rs::from_env("JIRA", rs::retry_config{}, listed(set)); };

    CHECK_THROWS_WITH(read_all(), "there is no setting for the variable " + misspelt.name +
                                      "; the nearest is " + misspelt.nearest);
    CHECK_THROWS_AS(read_all(), std::invalid_argument);
    CHECK_NOTHROW(rs::from_env("JIRA", rs::retry_config{}, listed(set, false)));
}

TEST_CASE("a variable of a field that is set in code alone is told so, whatever setting is near", "[env]") {
    const auto told = [](const std::string& name) {
        const variables set{{name, "x"}};
        try {
            (void)rs::from_env("JIRA", rs::retry_config{}, listed(set));
        } catch (const std::invalid_argument& e) {
            return std::string(e.what());
        }
        return std::string();
    };
    const auto in_code = [](const std::string& name, const std::string& field) {
        return "there is no setting for the variable " + name + "; " + field +
               " is set in code, no variable can set it";
    };

    CHECK(told("JIRA_RETRY_NAME") == in_code("JIRA_RETRY_NAME", "name"));
    CHECK(told("JIRA_RETRY_LABELS") == in_code("JIRA_RETRY_LABELS", "labels"));
    CHECK(told("JIRA_RETRY_BUDGET") == in_code("JIRA_RETRY_BUDGET", "budget"));
    CHECK(told("JIRA_RETRY_RETRY_IF") == in_code("JIRA_RETRY_RETRY_IF", "retry_if"));
}

TEST_CASE("where no setting is near, all of them are told", "[env]") {
    const auto read_with = [](const std::string& name) {
        const variables set{{name, "x"}};
        (void)rs::from_env("JIRA", rs::timeout_config{.limit = 1s}, listed(set));
    };

    CHECK_THROWS_WITH(
        read_with("JIRA_TIMEOUT_COLOUR"),
        "there is no setting for the variable JIRA_TIMEOUT_COLOUR; behind JIRA_TIMEOUT_ there may be "
        "LIMIT, KEEP_LATE, IDLE");
    // A third of the longer name may differ: four letters of twelve, two of five.
    const variables shortened{{"JIRA_RETRY_ATTEMPTS", "5"}};
    CHECK_THROWS_WITH(rs::from_env("JIRA", rs::retry_config{}, listed(shortened)),
                      Catch::Matchers::EndsWith("; the nearest is JIRA_RETRY_MAX_ATTEMPTS"));
    CHECK_THROWS_WITH(read_with("JIRA_TIMEOUT_LIMMI"), Catch::Matchers::EndsWith("IDLE"));
}

TEST_CASE("variables of others are none of our business", "[env][H-USE-24]") {
    const variables set{{"JIRA_URL", "https://jira"},
                        {"JIRA_RETRY", "1"},
                        {"JIRA_RETRYING_MAX", "1"},
                        {"OTHER_RETRY_MAX_ATTEMPT", "1"},
                        {"JIRA_CIRCUIT_FAILURE_TRESHOLD", "1"},
                        {"JIRA_RETRY_FORGOTTEN", " "},
                        {"JIRA_RETRY_MAX_ATTEMPTS", "7"},
                        {"RETRY_MAX_ATTEMPT", "1"}};

    CHECK(rs::from_env("JIRA", rs::retry_config{}, listed(set)).max_attempts == 7);
    CHECK_THROWS_WITH(rs::from_env("JIRA", rs::circuit_breaker_config{}, listed(set)),
                      Catch::Matchers::EndsWith("the nearest is JIRA_CIRCUIT_FAILURE_THRESHOLD"));
}

TEST_CASE("a variable of another config whose kind begins with ours is not a misspelt one",
          "[env][H-USE-24]") {
    using namespace a_users_policies;
    const variables set{{"JIRA_RETRY_QUOTA_PER_MINUTE", "90"},
                        {"JIRA_RETRY_QUOTA_BURST_SIZE", "5"},
                        {"JIRA_RETRY_HURRY", "6"},
                        {"JIRA_CIRCUIT_SLOW_MOST", "7"},
                        {"JIRA_ABANDONING_MOST", "8"},
                        {"JIRA_ABANDONING_TIMEOUT_IDLE", "9s"}};

    CHECK_NOTHROW(rs::from_env("JIRA", rs::retry_config{}, listed(set)));
    CHECK_NOTHROW(rs::from_env("JIRA", rs::circuit_breaker_config{}, listed(set)));
    CHECK(rs::from_env("JIRA", retry_quota_config{}, listed(set)).per_minute == 90);
    CHECK(rs::from_env("JIRA", retry_quota_burst_config(1), listed(set)).size == 5);
    CHECK(rs::from_env("JIRA", tuned_retry_config{}, listed(set)).hurry == 6);
    CHECK(rs::from_env("JIRA", circuit_slow_config{}, listed(set)).most == 7);
    CHECK(rs::from_env("JIRA", abandoning_config{}, listed(set)).most == 8);
}

TEST_CASE("a setting of another config that begins as ours is not a misspelt one", "[env][H-USE-24]") {
    using namespace a_users_policies;
    const variables set{{"JIRA_CIRCUIT_SLOW_CALL_DURATION", "2s"},
                        {"JIRA_RETRY_MAX_ATTEMPTS", "5"},
                        {"JIRA_RETRY_QUOTA_PER_MINUTE", "90"}};

    CHECK(rs::from_env("JIRA", circuit_slow_config{}, listed(set)).most == 3);
    CHECK(rs::from_env("JIRA", tuned_retry_config{}, listed(set)).hurry == 3);
    CHECK(rs::from_env("JIRA", retry_quota_burst_config(1), listed(set)).size == 1);
}

TEST_CASE("a variable that no config has is misspelt for the config whose beginning it has",
          "[env][H-USE-24]") {
    using namespace a_users_policies;
    const auto refused = [](const char* name, auto config) {
        const variables set{{name, "1"}};
        CHECK_THROWS_WITH(
            rs::from_env("JIRA", config, listed(set)),
            Catch::Matchers::StartsWith(std::string("there is no setting for the variable ") + name));
    };

    refused("JIRA_RETRY_QUOTA", rs::retry_config{});
    refused("JIRA_RETRY_QUOTES_PER_MINUTE", rs::retry_config{});
    refused("JIRA_RETRY_QUOTA_PER_MINUT", retry_quota_config{});
    refused("JIRA_RETRY_QUOTA_BURST", retry_quota_config{});
    refused("JIRA_CIRCUIT_SLOW_CALL_DURATIO", circuit_slow_config{});
    refused("JIRA_CIRCUIT_SLOWER_MOST", rs::circuit_breaker_config{});
}

TEST_CASE("durations have a unit and may be decimals", "[env]") {
    CHECK(limit("7ns") == 7ns);
    CHECK(limit("12us") == 12us);
    CHECK(limit("350ms") == 350ms);
    CHECK(limit("2s") == 2s);
    CHECK(limit("3m") == 3min);
    CHECK(limit("1.5h") == 90min);
    CHECK(limit("0.1s") == 100ms);
    CHECK(limit("1.000000001s") == 1s + 1ns);
    CHECK(limit("0.0000000019s") == 1ns);
    CHECK(limit("2562047h") == 2562047h);
    CHECK(limit("9223372036.854775807s") == rs::duration::max());
}

TEST_CASE("durations without a unit, with another, with a sign or too long are refused", "[env][H-CPP-01]") {
    for (const char* bad : {"5",
                            "0",
                            "s",
                            ".5s",
                            "5.s",
                            "1..5s",
                            "-1s",
                            "+1s",
                            "5 s",
                            "5S",
                            "5sec",
                            "1m30s",
                            "1e3s",
                            "2562048h",
                            "9223372036.854775808s",
                            "99999999999999999999s",
                            "inf",
                            "nans",
                            "5d",
                            "0x5s"}) {
        INFO(bad);
        CHECK(refuses("JIRA_RETRY_BASE_DELAY", bad));
    }
}

TEST_CASE("numbers, shares, words and booleans are refused unless they are exactly that", "[env]") {
    for (const char* bad : {"-1", "+1", "1.5", "five", "4294967296", "5 5", "0x5", "1e2"}) {
        INFO(bad);
        CHECK(refuses("JIRA_RETRY_MAX_ATTEMPTS", bad));
    }
    for (const char* bad : {"%", "half", "-0.5", "0,5", "50 %", "nan", "1e-1", ".5", "5%%"}) {
        INFO(bad);
        CHECK(refuses("JIRA_RETRY_JITTER_RATIO", bad));
    }
    for (const char* bad : {"inf", "2x", "1.5e0", "nan"}) CHECK(refuses("JIRA_RETRY_MULTIPLIER", bad));
    for (const char* bad : {"Full", "FULL", "2", "jitter::full"}) CHECK(refuses("JIRA_RETRY_JITTER", bad));
    for (const char* bad : {"yes", "TRUE", "2", "on"}) CHECK(refuses("JIRA_RETRY_WRAP_EXHAUSTED", bad));
    CHECK(refuses("JIRA_RETRY_STRATEGY", "fibonacci"));
    CHECK(refuses("JIRA_RETRY_NESTED", "inner"));
    CHECK(complaint<rs::circuit_breaker_config>({{"JIRA_CIRCUIT_WINDOW", "many"}}) ==
          "JIRA_CIRCUIT_WINDOW='many': it must be a number of calls such as 100, or a time such as 60s");
}

TEST_CASE("a number of any length is the double that a program would mean by it", "[env]") {
    const auto multiplier = [](const std::string& text) {
        return read<rs::retry_config>({{"JIRA_RETRY_MULTIPLIER", text}}).multiplier;
    };

    CHECK(multiplier("1.4142135623730951") == 1.4142135623730951);
    CHECK(multiplier("1.00000000000000000000000000000001") == 1.0);
    CHECK(multiplier("1.9999999999999999") == 1.9999999999999999);
    const std::string too_large = "1" + std::string(400, '0');
    CHECK(complaint<rs::retry_config>({{"JIRA_RETRY_MULTIPLIER", too_large}})
              .ends_with("it must be a number such as 2 or 1.5"));
}

TEST_CASE("words are the names of the enumerators, and jitter may still be a boolean", "[env]") {
    const auto jitter = [](const char* text) {
        return read<rs::retry_config>({{"JIRA_RETRY_JITTER", text}}).jitter;
    };
    const auto strategy = [](const char* text) {
        return read<rs::retry_config>({{"JIRA_RETRY_STRATEGY", text}}).strategy;
    };

    CHECK(jitter("none") == rs::jitter::none);
    CHECK(jitter("full") == rs::jitter::full);
    CHECK(jitter("equal") == rs::jitter::equal);
    CHECK(jitter("true") == rs::jitter::full);
    CHECK(jitter("false") == rs::jitter::none);
    CHECK(strategy("constant") == rs::backoff::constant);
    CHECK(strategy("linear") == rs::backoff::linear);
    CHECK(strategy("exponential") == rs::backoff::exponential);
}

TEST_CASE("a complaint names the variable, its value and what is accepted", "[env]") {
    CHECK(complaint<rs::retry_config>({{"JIRA_RETRY_BASE_DELAY", "5"}}) ==
          "JIRA_RETRY_BASE_DELAY='5': it must be a number with a unit (ns, us, ms, s, m or h) such as 500ms "
          "or 1.5s");
    CHECK(complaint<rs::circuit_breaker_config>({{"JIRA_CIRCUIT_CONSECUTIVE_FAILURES", "few"}}) ==
          "JIRA_CIRCUIT_CONSECUTIVE_FAILURES='few': it must be a whole number from 0 to 4294967295, or off");
    CHECK(complaint<rs::retry_config>({{"JIRA_RETRY_BASE_DELAY", std::string(100'000, 'x')}}).size() < 300);
}

TEST_CASE("the whole config is validated, and the complaint tells what came from the environment", "[env]") {
    CHECK(complaint<rs::retry_config>({{"JIRA_RETRY_MAX_ATTEMPTS", "0"}, {"JIRA_RETRY_MAX_DELAY", "5s"}}) ==
          "retry_config.max_attempts is 0; it must be 1 or more (1: never retry) "
          "(from the environment: JIRA_RETRY_MAX_ATTEMPTS='0', JIRA_RETRY_MAX_DELAY='5s')");
    CHECK(complaint<rs::circuit_breaker_config>({{"JIRA_CIRCUIT_FAILURE_RATE_THRESHOLD", "120%"}})
              .find("JIRA_CIRCUIT_FAILURE_RATE_THRESHOLD='120%'") != std::string::npos);
    CHECK(complaint<rs::circuit_breaker_config>({{"JIRA_CIRCUIT_SLOW_CALL_DURATION", "1s"}})
              .find("go together") != std::string::npos);
    CHECK(complaint<rs::timeout_config>({}) == "timeout_config.limit is 0ns; it must be more than 0");
    CHECK(complaint<rs::abandoning_timeout_config>({{"JIRA_ABANDONING_TIMEOUT_MAX_ABANDONED", "0"}},
                                                   {.limit = 1s}) ==
          "abandoning_timeout_config.max_abandoned is 0; it must be at least 1 "
          "(from the environment: JIRA_ABANDONING_TIMEOUT_MAX_ABANDONED='0')");
}

TEST_CASE("an empty prefix leaves the policy's word in front", "[env]") {
    const variables set{{"RETRY_MAX_ATTEMPTS", "6"}};

    CHECK(rs::from_env("", rs::retry_config{}, getter(set)).max_attempts == 6);
}

TEST_CASE("without a getter the environment of the process is read", "[env]") {
    REQUIRE(setenv("RESILIENCE_TEST_RETRY_MAX_ATTEMPTS", "8", 1) == 0);

    CHECK(rs::from_env("RESILIENCE_TEST", rs::retry_config{}).max_attempts == 8);

    REQUIRE(unsetenv("RESILIENCE_TEST_RETRY_MAX_ATTEMPTS") == 0);
    CHECK(rs::from_env("RESILIENCE_TEST", rs::retry_config{}).max_attempts == 3);
}

TEST_CASE("a misspelt variable of the process is found", "[env][H-USE-24]") {
    REQUIRE(setenv("RESILIENCE_TEST_RETRY_MAX_ATTEMPT", "8", 1) == 0);

    CHECK_THROWS_WITH(rs::from_env("RESILIENCE_TEST", rs::retry_config{}),
                      Catch::Matchers::EndsWith("the nearest is RESILIENCE_TEST_RETRY_MAX_ATTEMPTS"));
    CHECK_NOTHROW(rs::from_env("RESILIENCE_TEST", rs::retry_config{}, {.strict = false}));
    CHECK_NOTHROW(rs::from_env("RESILIENCE_TEST", rs::timeout_config{.limit = 1s}));

    REQUIRE(unsetenv("RESILIENCE_TEST_RETRY_MAX_ATTEMPT") == 0);
}

TEST_CASE("a complaint names the policy", "[env][H-USE-24]") {
    CHECK(complaint<rs::retry_config>({{"JIRA_RETRY_MAX_ATTEMPTS", "0"}}, {.name = "jira_api"}) ==
          "retry 'jira_api': retry_config.max_attempts is 0; it must be 1 or more (1: never retry) "
          "(from the environment: JIRA_RETRY_MAX_ATTEMPTS='0')");
}

} // namespace
