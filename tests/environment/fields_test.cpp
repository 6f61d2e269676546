// SPDX-License-Identifier: Apache-2.0
#include <resilience/environment/fields.hpp>

#include <resilience/environment/field_values.hpp>

#include "support/catch.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using rs::detail::difference;
using rs::detail::fields_of;
using rs::detail::show;

enum class shade { dark, light };
constexpr std::array<std::pair<std::string_view, shade>, 3> words_of(shade) {
    return {{{"dark", shade::dark}, {"light", shade::light}, {"bright", shade::light}}};
}
struct percentage {
    int of_hundred = 0;
    bool operator==(const percentage&) const = default;
};
struct slope {
    double up = 1.5;
    std::optional<unsigned> steps{};
};
void fields(slope& s, auto&& visit) {
    visit("up", s.up);
    visit("steps", s.steps);
}

} // namespace

template <>
struct resilience::text_form<percentage> {
    static constexpr std::string_view accepted = "a percentage";
    static bool parse(std::string_view, percentage&) { return false; }
    static setting_value show(const percentage& p) { return std::to_string(p.of_hundred) + "%"; }
};

namespace {

struct everything {
    unsigned whole = 1;
    std::optional<unsigned> maybe_whole{};
    std::uint64_t large = 2;
    double number = 2.5;
    std::optional<double> part{};
    rs::duration time = 1500ms;
    std::optional<rs::duration> maybe_time{};
    bool yes = true;
    std::string word = "text";
    shade colour = shade::light;
    std::optional<shade> maybe_colour{};
    percentage own{7};
    std::optional<percentage> maybe_own{};
    std::optional<slope> ramp{};
    slope always{};
    std::function<void()> call{};
};
void fields(everything& c, auto&& visit) {
    visit("whole", c.whole);
    visit("maybe_whole", c.maybe_whole);
    visit("large", c.large);
    visit("number", c.number);
    visit("part", c.part, rs::field_form::share);
    visit("time", c.time);
    visit("maybe_time", c.maybe_time);
    visit("yes", c.yes);
    visit("word", c.word);
    visit("colour", c.colour);
    visit("maybe_colour", c.maybe_colour);
    visit("own", c.own);
    visit("maybe_own", c.maybe_own);
    visit("ramp", c.ramp);
    visit("always", c.always);
    visit("call", c.call);
}
static_assert(rs::described<everything>);
static_assert(!rs::described<percentage>);

rs::setting_value shown(const everything& c, std::string_view name) {
    for (const auto& f : fields_of(c)) {
        if (f.name == name) return show(f);
    }
    return std::string("no such field");
}

TEST_CASE("a field is shown as the value that it is; what is unset as nothing", "[fields]") {
    everything c;
    const rs::setting_value nothing;

    CHECK(shown(c, "whole") == rs::setting_value(std::uint64_t{1}));
    CHECK(shown(c, "large") == rs::setting_value(std::uint64_t{2}));
    CHECK(shown(c, "number") == rs::setting_value(2.5));
    CHECK(shown(c, "time") == rs::setting_value(std::string("1500ms")));
    CHECK(shown(c, "yes") == rs::setting_value(true));
    CHECK(shown(c, "word") == rs::setting_value(std::string("text")));
    CHECK(shown(c, "colour") == rs::setting_value(std::string("light")));
    CHECK(shown(c, "own") == rs::setting_value(std::string("7%")));
    for (const char* unset : {"maybe_whole", "part", "maybe_time", "maybe_colour", "maybe_own"}) {
        INFO(unset);
        CHECK(shown(c, unset) == nothing);
    }

    c.maybe_whole = 4;
    c.part = 0.25;
    c.maybe_time = 7ns;
    c.maybe_colour = shade::dark;
    c.maybe_own = percentage{9};
    CHECK(shown(c, "maybe_whole") == rs::setting_value(std::uint64_t{4}));
    CHECK(shown(c, "part") == rs::setting_value(0.25));
    CHECK(shown(c, "maybe_time") == rs::setting_value(std::string("7ns")));
    CHECK(shown(c, "maybe_colour") == rs::setting_value(std::string("dark")));
    CHECK(shown(c, "maybe_own") == rs::setting_value(std::string("9%")));
}

TEST_CASE("two configs differ in the first field that does", "[fields]") {
    const std::pair<const char*, std::function<void(everything&)>> changes[] = {
        {"whole", [](auto& c) { c.whole = 3; }},
        {"maybe_whole", [](auto& c) { c.maybe_whole = 0; }},
        {"large", [](auto& c) { c.large = 1ULL << 40U; }},
        {"number", [](auto& c) { c.number = 2.6; }},
        {"part", [](auto& c) { c.part = 0; }},
        {"time", [](auto& c) { c.time += 1ns; }},
        {"maybe_time", [](auto& c) { c.maybe_time = 0ns; }},
        {"yes", [](auto& c) { c.yes = false; }},
        {"word", [](auto& c) { c.word += "s"; }},
        {"colour", [](auto& c) { c.colour = shade::dark; }},
        {"maybe_colour", [](auto& c) { c.maybe_colour = shade::dark; }},
        {"own", [](auto& c) { c.own.of_hundred = 8; }},
        {"maybe_own", [](auto& c) { c.maybe_own.emplace(); }},
        {"ramp", [](auto& c) { c.ramp.emplace(); }},
        {"always", [](auto& c) { c.always.steps = 2; }},
        {"call", [](auto& c) { c.call = [] {}; }},
    };
    const everything base;
    everything all;

    CHECK(difference(base, all).empty());
    for (const auto& [name, change] : changes) {
        everything other;
        change(other);
        change(all);
        CHECK(difference(base, other) == name);
        CHECK(difference(other, base) == name);
        CHECK(difference(other, other).empty());
        CHECK(difference(base, all) == "whole");
    }
}

TEST_CASE("parts are compared one by one", "[fields]") {
    everything a, b;
    a.ramp = slope{2.0, 3};
    b.ramp = slope{2.0, 4};

    CHECK(difference(a, b) == "ramp");
    b.ramp->steps = 3;
    CHECK(difference(a, b).empty());
}

TEST_CASE("callables differ if only one is set, or their types are others", "[fields][H-USE-24]") {
    everything a, b;
    const auto holding = [](int i) { return [i] { (void)i; }; };
    a.call = holding(1);
    b.call = holding(2);
    CHECK(difference(a, b).empty()); // nobody can know

    b.call = [] {};
    CHECK(difference(a, b) == "call");
    b.call = nullptr;
    CHECK(difference(a, b) == "call");
}

} // namespace
