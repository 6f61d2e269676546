// SPDX-License-Identifier: Apache-2.0
#include <resilience/call/failure.hpp>
#include <resilience/call/result_traits.hpp>

#include "support/catch.hpp"
#include "support/world.hpp"

#include <chrono>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using support::http_error;

/// As the driver makes it: with the std::exception at hand.
template <class E>
rs::failure caught(const E& e) {
    try {
        throw e;
    } catch (const std::exception& known) {
        return rs::failure(std::current_exception(), &known);
    } catch (...) {
        return rs::failure(std::current_exception(), nullptr);
    }
}

TEST_CASE("as<E> finds the exception by its type and by any base of it", "[failure]") {
    const auto f = caught(std::range_error("x"));

    REQUIRE(f.as<std::range_error>() != nullptr);
    CHECK(std::string(f.as<std::range_error>()->what()) == "x");
    CHECK(f.as<std::runtime_error>() != nullptr);
    CHECK(f.as<std::exception>() != nullptr);
    CHECK(f.as<std::logic_error>() == nullptr);
    CHECK(f.as<int>() == nullptr);
}

TEST_CASE("as<E> finds a mixin beside std::exception", "[failure]") {
    const auto f = caught(http_error(503, 7s));

    REQUIRE(f.as<rs::http_carrier>() != nullptr);
    CHECK(f.as<rs::http_carrier>()->http_status() == 503);
    CHECK(f.http_status() == 503);
    CHECK(f.retry_after() == rs::duration{7s});
}

TEST_CASE("as<E> finds exceptions that are no std::exception", "[failure][H-CPP-11]") {
    CHECK(*caught(42).as<int>() == 42);
    CHECK(*caught(std::string("text")).as<std::string>() == "text");
    CHECK(caught(42).as<long>() == nullptr);
    CHECK(caught(42).as<std::exception>() == nullptr);
}

struct marked {
    explicit marked(int m) : mark(m) {}
    virtual ~marked() = default;
    int mark;
};
struct left : virtual marked {
    left() : marked(1) {}
};
struct right : virtual marked {
    right() : marked(2) {}
};
struct once_marked : left, right {
    once_marked() : marked(3) {}
};
struct one : marked {
    one() : marked(1) {}
};
struct two : marked {
    two() : marked(2) {}
};
struct twice_marked : one, two {};
struct secretly_marked : private marked {
    secretly_marked() : marked(5) {}
};
struct plain {
    int number;
};
struct plain_and_more : std::runtime_error, plain {
    plain_and_more() : std::runtime_error("x"), plain{7} {}
};

TEST_CASE("as<E> finds an E where a handler of E would catch it, and nowhere else", "[failure]") {
    const auto through_virtual_bases = caught(once_marked());
    REQUIRE(through_virtual_bases.as<marked>() != nullptr);
    CHECK(through_virtual_bases.as<marked>()->mark == 3);
    const auto with_a_plain_base = caught(plain_and_more());
    REQUIRE(with_a_plain_base.as<plain>() != nullptr);
    CHECK(with_a_plain_base.as<plain>()->number == 7);

    CHECK(caught(twice_marked()).as<marked>() == nullptr); // an ambiguous base
    CHECK(caught(twice_marked()).as<two>()->mark == 2);
    CHECK(caught(secretly_marked()).as<marked>() == nullptr);
    CHECK(caught(secretly_marked()).as<secretly_marked>() != nullptr);

    static const once_marked pointed_to;
    const auto pointer = caught(&pointed_to);
    CHECK(pointer.as<once_marked>() == nullptr);
    CHECK(pointer.exception_is<const once_marked*>());
    CHECK(rs::failure().as<marked>() == nullptr);
}

TEST_CASE("as<E> of a failure made of an exception_ptr alone finds the same", "[failure]") {
    const rs::failure f(std::make_exception_ptr(std::range_error("x")));

    CHECK(f.as<std::runtime_error>() != nullptr);
    CHECK(f.as<std::logic_error>() == nullptr);
    CHECK(f.message() == "x");
    CHECK(rs::failure(std::make_exception_ptr(42)).as<int>() != nullptr);
}

TEST_CASE("a failure made of an exception_ptr alone knows what the exception carries", "[failure]") {
    const auto cancelled = std::make_error_code(std::errc::operation_canceled);
    const rs::failure stopped(std::make_exception_ptr(std::system_error(cancelled)));
    const rs::failure busy(std::make_exception_ptr(http_error(503, 7s)));

    CHECK(stopped.code() == cancelled);
    CHECK(stopped.is_cancellation());
    CHECK(rs::default_verdict(stopped) == rs::verdict::ignored);
    CHECK(busy.http_status() == 503);
    CHECK(busy.retry_after() == rs::duration{7s});
}

TEST_CASE("an HTTP answer need be no std::exception", "[failure]") {
    struct plain_error : rs::http_carrier {
        int http_status() const noexcept override { return 404; }
        std::optional<rs::duration> retry_after() const noexcept override { return rs::duration{7s}; }
    };
    const auto f = caught(plain_error{});

    CHECK(f.http_status() == 404);
    CHECK(f.retry_after() == rs::duration{7s});
    CHECK(rs::default_verdict(f) == rs::verdict::success);
}

TEST_CASE("the exception lives as long as the failure or a copy of it", "[failure]") {
    std::optional<rs::failure> copy;
    {
        const auto f = caught(std::runtime_error("kept"));
        copy = f;
    }
    CHECK(std::string(copy->as<std::runtime_error>()->what()) == "kept");
    CHECK_THROWS_WITH(copy->rethrow(), "kept");
}

TEST_CASE("an exception's message and type are those of the object thrown", "[failure]") {
    CHECK(caught(std::range_error("x")).message() == "x");
    CHECK(caught(std::range_error("x")).type_name() == "std::range_error");
    CHECK(caught(std::string("text")).message() == "text");
    CHECK(caught(42).message() == "an exception that is no std::exception");
    CHECK(caught(42).type_name() == "int");
    CHECK(rs::failure().message() == "no outcome");
}

TEST_CASE("code() is the one inside a std::system_error", "[failure]") {
    const auto refused = std::make_error_code(std::errc::connection_refused);

    CHECK(caught(std::system_error(refused)).code() == refused);
    CHECK(caught(rs::timeout_error(rs::errc::timed_out, "", "late")).code() == rs::errc::timed_out);
    CHECK_FALSE(caught(std::runtime_error("x")).code());
    CHECK_FALSE(caught(42).code());
}

TEST_CASE("a rejection has a code, a policy and a time, but no exception and no value", "[failure]") {
    const rs::failure f(
        rs::rejection{.code = rs::errc::circuit_open, .policy = rs::detail::name("jira"), .retry_after = 2s});

    CHECK(f.is_rejection());
    CHECK(f.code() == rs::errc::circuit_open);
    CHECK(f.policy() == "jira");
    CHECK(f.retry_after() == rs::duration{2s});
    CHECK(f.exception() == nullptr);
    CHECK(f.as<rs::error>() == nullptr);
    CHECK(f.value<int>() == nullptr);
    CHECK(f.cause() == nullptr);
    CHECK(f.type_name() == "resilience::circuit_open_error");
    CHECK_THROWS_AS(f.rethrow(), rs::circuit_open_error);
}

TEST_CASE("a failing value is found by exactly its type and described by its traits", "[failure]") {
    const auto code = std::make_error_code(std::errc::io_error);
    const auto f = rs::detail::describe(code);

    REQUIRE(f.value<std::error_code>() == &code);
    CHECK(f.value<int>() == nullptr);
    CHECK(f.code() == code);
    CHECK(f.message() == code.message());
    CHECK(f.type_name() == "std::error_code");
    CHECK(f.exception() == nullptr);
    CHECK_FALSE(f.is_rejection());
}

/// Says what it is told to say, as an exception and as a value.
struct careful_error : std::runtime_error, rs::not_sent_carrier {
    explicit careful_error(bool not_sent) : std::runtime_error("careful"), not_sent_(not_sent) {}
    bool not_sent() const noexcept override { return not_sent_; }
    bool not_sent_;
};
struct mute_error : std::exception {
    const char* what() const noexcept override { return nullptr; }
};
struct mute_answer {
    bool ok() const { return false; }
    std::string message() const { throw std::logic_error("no words"); }
};

} // namespace

template <>
[[maybe_unused]] inline constexpr bool resilience::enable_status_like<mute_answer> = true;

namespace {

TEST_CASE("a failure whose own text is none or throws still has a message", "[failure]") {
    const mute_answer answer;
    const auto value = rs::detail::describe(answer);
    rs::failure refused = rs::rejection{.code = rs::errc::circuit_open};

    CHECK(caught(mute_error{}).message().empty());
    CHECK(value.message().find("mute_answer, whose text threw") != std::string::npos);
    CHECK_THROWS_AS(value.rethrow(), std::system_error);
    refused.follow(value);
    REQUIRE(refused.cause() != nullptr);
    CHECK(refused.cause()->message().find("whose text threw") != std::string::npos);
}

struct careful_answer {
    bool not_sent;
    friend std::optional<int> http_status_of(const careful_answer&) { return std::nullopt; }
    friend bool was_not_sent(const careful_answer& a) noexcept { return a.not_sent; }
};

TEST_CASE("not_sent() is what the exception or the value says itself", "[failure]") {
    for (const bool word : {true, false}) {
        const careful_answer answer{word};

        CHECK(caught(careful_error(word)).not_sent() == word);
        CHECK(rs::failure(std::make_exception_ptr(careful_error(word))).not_sent() == word);
        CHECK(rs::detail::describe(answer).not_sent() == word);
    }
}

TEST_CASE("not_sent() is empty where nobody says", "[failure]") {
    const std::error_code refused = std::make_error_code(std::errc::connection_refused);

    CHECK(caught(std::runtime_error("x")).not_sent() == std::nullopt);
    CHECK(caught(42).not_sent() == std::nullopt);
    CHECK(rs::detail::describe(refused).not_sent() == std::nullopt);
    CHECK(rs::failure(rs::rejection{.code = rs::errc::circuit_open}).not_sent() == std::nullopt);
    CHECK(rs::failure().not_sent() == std::nullopt);
}

TEST_CASE("a failing value is rethrown as a std::system_error with its code", "[failure]") {
    const auto code = std::make_error_code(std::errc::io_error);
    try {
        rs::detail::describe(code).rethrow();
        FAIL("did not throw");
    } catch (const std::system_error& e) {
        CHECK(e.code() == code);
        CHECK(std::string(e.what()) == code.message());
    }
}

TEST_CASE("a cause outlives the value that it was made of", "[failure]") {
    rs::failure late(rs::rejection{.code = rs::errc::circuit_open});
    {
        auto code = std::make_unique<std::error_code>(std::make_error_code(std::errc::io_error));
        late.set_cause(rs::detail::describe(*code));
        *code = {};
    }
    REQUIRE(late.cause() != nullptr);
    CHECK(late.cause()->code() == std::errc::io_error);
    CHECK(late.cause()->message() == std::make_error_code(std::errc::io_error).message());
    CHECK(late.cause()->value<std::error_code>() == nullptr);
}

TEST_CASE("a refusal follows the last attempt that was made, past other refusals", "[failure]") {
    const auto real = caught(std::runtime_error("down"));
    rs::failure first(rs::rejection{.code = rs::errc::circuit_open});
    first.follow(real);
    rs::failure second(rs::rejection{.code = rs::errc::circuit_open});
    second.follow(first);
    rs::failure alone(rs::rejection{.code = rs::errc::circuit_open});
    alone.follow(rs::rejection{.code = rs::errc::bulkhead_full});

    REQUIRE(first.cause() != nullptr);
    REQUIRE(second.cause() != nullptr);
    CHECK(second.cause()->message() == "down");
    CHECK(alone.cause() == nullptr);
}

TEST_CASE("set_exception is what a rejection throws instead", "[failure]") {
    rs::failure f(rs::rejection{.code = rs::errc::timed_out});
    f.set_exception(std::make_exception_ptr(std::domain_error("mine")));

    CHECK_THROWS_AS(f.rethrow(), std::domain_error);
    CHECK(f.code() == rs::errc::timed_out);
}

TEST_CASE("the default verdict: what speaks of health and what does not", "[failure]") {
    const auto code = [](std::errc c) { return std::system_error(std::make_error_code(c)); };
    const auto rejected = [](rs::errc c) { return rs::default_verdict(rs::rejection{.code = c}); };

    CHECK(rs::default_verdict(caught(std::runtime_error("x"))) == rs::verdict::failure);
    CHECK(rs::default_verdict(caught(42)) == rs::verdict::failure);
    CHECK(rs::default_verdict(caught(code(std::errc::io_error))) == rs::verdict::failure);
    CHECK(rs::default_verdict(caught(code(std::errc::operation_canceled))) == rs::verdict::ignored);
    CHECK(rs::default_verdict(caught(std::bad_alloc())) == rs::verdict::ignored);
    CHECK(rs::default_verdict(caught(http_error(503))) == rs::verdict::failure);
    CHECK(rs::default_verdict(caught(http_error(404))) == rs::verdict::success);
    CHECK(rs::default_verdict(caught(http_error(429))) == rs::verdict::ignored);
    CHECK(rs::default_verdict(caught(http_error(0))) == rs::verdict::failure);
    CHECK(rejected(rs::errc::timed_out) == rs::verdict::failure);
    CHECK(rejected(rs::errc::retries_exhausted) == rs::verdict::failure);
    CHECK(rejected(rs::errc::circuit_open) == rs::verdict::ignored);
    CHECK(rejected(rs::errc::bulkhead_full) == rs::verdict::ignored);
    CHECK(rejected(rs::errc::cancelled) == rs::verdict::ignored);
}

} // namespace
