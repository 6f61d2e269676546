// SPDX-License-Identifier: Apache-2.0
#include <resilience/circuit_breaker/noted_failure.hpp>

#include <resilience/circuit_breaker.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"
#include "support/noted.hpp"
#include "support/world.hpp"

#include <chrono>
#include <cstddef>
#include <exception>
#include <stdexcept>
#include <string>
#include <system_error>
#include <typeinfo>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using rs::detail::noted_failure;

/// A category that counts how often its texts are made, and that may go before they are read.
class counting_category : public std::error_category {
public:
    const char* name() const noexcept override { return "counting"; }
    std::string message(int) const override {
        ++made;
        return "a text";
    }
    mutable int made = 0;
};

TEST_CASE("the text of a category that may go is made while it is there", "[noted_failure]") {
    const counting_category texts;
    support::world w;
    const rs::circuit_breaker breaker({.name = "db", .failure_threshold = 10}, w.reg);
    const auto fails = [&] { return std::error_code(7, texts); };

    for (int i = 0; i < 9; ++i) (void)breaker(fails);
    CHECK(texts.made == 9);
    CHECK(breaker.stats().last_error->message == "a text");
    CHECK(breaker.stats().last_error->type.find("error_code") != std::string::npos);
    CHECK(texts.made == 9);
}

TEST_CASE("codes of the standard categories are told by the type that they came as", "[noted_failure]") {
    support::world w;
    const rs::circuit_breaker breaker({.name = "db", .failure_threshold = 10}, w.reg);
    const std::string text = std::make_error_code(std::errc::io_error).message();
    const auto error = [&] { return *breaker.stats().last_error; };

    for (int i = 0; i < 2; ++i) {
        (void)breaker([] { return std::make_error_code(std::errc::io_error); });
        CHECK(error().type.find("error_code") != std::string::npos);
        CHECK(error().message == text);
    }
    (void)breaker([] { return std::errc::io_error; });
    CHECK(error().type.find("errc") != std::string::npos);
    CHECK(error().message == text);
    (void)breaker.try_call([] { throw std::runtime_error("down"); });
    CHECK(error().type == "std::runtime_error");
}

TEST_CASE("the event of a trip by a time-out says that it was one", "[noted_failure][circuit_events]") {
    support::world w;
    const rs::circuit_breaker breaker({.name = "db", .failure_threshold = 1}, w.reg);
    bool timed_out = false;
    const auto listening = w.reg.subscribe([&](const rs::event& e) {
        if (e.kind == rs::event_kind::state_changed) timed_out = e.timed_out;
    });

    (void)(breaker | rs::timeout(1s, w.reg)).try_call([&] { w.clock.advance(2s); });

    CHECK(timed_out);
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
