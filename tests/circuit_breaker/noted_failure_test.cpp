// SPDX-License-Identifier: Apache-2.0
#include <resilience/circuit_breaker/noted_failure.hpp>

#include <resilience/circuit_breaker.hpp>

#include "support/catch.hpp"
#include "support/noted.hpp"
#include "support/world.hpp"

#include <cstddef>
#include <exception>
#include <string>
#include <system_error>
#include <typeinfo>

namespace {

namespace rs = resilience;
using rs::detail::noted_failure;

/// A category that counts how often its texts are made.
class counting_category : public std::error_category {
public:
    const char* name() const noexcept override { return "counting"; }
    std::string message(int) const override {
        ++made;
        return "a text";
    }
    mutable int made = 0;
};

TEST_CASE("the text of an error code is made when it is read, not while calls fail", "[noted_failure]") {
    const counting_category texts;
    support::world w;
    const rs::circuit_breaker breaker({.name = "db", .failure_threshold = 10}, w.reg);
    const auto fails = [&] { return std::error_code(7, texts); };

    for (int i = 0; i < 9; ++i) (void)breaker(fails);
    CHECK(texts.made == 0);
    CHECK(breaker.stats().last_error->message == "a text");
    CHECK(breaker.stats().last_error->type.find("error_code") != std::string::npos);
    CHECK(texts.made == 2);

    (void)breaker(fails); // nobody listens, so that the trip makes no text either
    CHECK(breaker.state() == rs::circuit_state::open);
    CHECK(texts.made == 2);
}

TEST_CASE("the event of a trip has the text of the failure, made outside of the circuit's lock",
          "[noted_failure][circuit_events]") {
    const counting_category texts;
    support::world w;
    const rs::circuit_breaker breaker({.name = "db", .failure_threshold = 1}, w.reg);
    std::string heard;
    const auto listening = w.reg.subscribe([&](const rs::event& e) { heard += e.error; });

    (void)breaker([&] { return std::error_code(7, texts); });

    CHECK(heard == "a text");
}

TEST_CASE("an exception's type and text are noted at once, the text at 256 bytes", "[noted_failure]") {
    const auto length = [](std::size_t n) {
        return support::noted(std::string(n, 'x').c_str()).texts().message.size();
    };

    CHECK(support::noted("down").texts().type == "std::runtime_error");
    CHECK(support::noted("down").copy().texts().message == "down");
    CHECK(length(256) == 256);
    CHECK(length(257) == 256);
}

TEST_CASE("a failure whose text cannot be made has no texts, and one that nobody described is unknown",
          "[noted_failure]") {
    struct odd : std::exception {};
    const rs::failure::value_ops ops{&typeid(odd), [](const void*) -> std::string { throw odd(); },
                                     [](const void*) { return rs::failure(); }, nullptr};
    const odd value;
    const noted_failure silent(rs::failure(&value, ops, {}, 0, rs::duration{-1}));

    CHECK(silent.texts().type.empty());
    CHECK(silent.texts().message.empty());
    CHECK(noted_failure().texts().type == "unknown");
    CHECK(noted_failure().copy().texts().message == noted_failure().texts().message);
}

} // namespace
