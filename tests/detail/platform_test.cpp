// SPDX-License-Identifier: Apache-2.0
#include <resilience/detail/platform.hpp>

#include "support/catch.hpp"

#include <cstdint>
#include <exception>
#include <limits>
#include <string>
#include <typeinfo>

namespace {

namespace rs = resilience;

constexpr auto most = std::numeric_limits<std::int64_t>::max();
constexpr auto least = std::numeric_limits<std::int64_t>::min();
constexpr auto most_unsigned = std::numeric_limits<std::uint64_t>::max();

template <class T, class A, class B>
constexpr bool adds(A a, B b, T sum) {
    T result{};
    return !rs::detail::add_overflows(a, b, result) && result == sum;
}
template <class T, class A, class B>
constexpr bool subtracts(A a, B b, T difference) {
    T result{};
    return !rs::detail::subtract_overflows(a, b, result) && result == difference;
}
template <class T, class A, class B>
constexpr bool multiplies(A a, B b, T product) {
    T result{};
    return !rs::detail::multiply_overflows(a, b, result) && result == product;
}

static_assert(adds(most - 1, 1, most));
static_assert(!adds(most, 1, least));
static_assert(adds(least + 1, -1, least));
static_assert(!adds(least, -1, most));
static_assert(adds(most_unsigned - 1, 1U, most_unsigned));
static_assert(!adds(most_unsigned, 1U, std::uint64_t{0}));

static_assert(subtracts(-1, most, least));
static_assert(!subtracts(-2, most, most));
static_assert(subtracts(0, least + 1, most));
static_assert(!subtracts(0, least, least));

static_assert(multiplies(most / 10, 10U, most / 10 * 10));
static_assert(!multiplies(most / 10 + 1, 10U, std::int64_t{}));
static_assert(multiplies(least / 2, 2, least));
static_assert(!multiplies(least, -1, least));
static_assert(!multiplies(-1, least, least));
static_assert(multiplies(most, -1, -most));
static_assert(multiplies(std::uint64_t{3}, std::int64_t{5}, std::int64_t{15}));
static_assert(!multiplies(most_unsigned, std::int64_t{1}, std::int64_t{-1}));
static_assert(multiplies(most_unsigned, std::int64_t{0}, std::int64_t{0}));

/// Nested, so that its mangled name is not what people write.
struct boiler_error {};

std::exception_ptr thrown(auto what) {
    try {
        throw what;
    } catch (...) {
        return std::current_exception();
    }
}

TEST_CASE("the type of an exception is known, whether it is a std::exception or not", "[platform]") {
    CHECK(rs::detail::exception_type(nullptr) == nullptr);
    REQUIRE(rs::detail::exception_type(thrown(boiler_error{})) != nullptr);
    CHECK(*rs::detail::exception_type(thrown(boiler_error{})) == typeid(boiler_error));
    CHECK(*rs::detail::exception_type(thrown(7)) == typeid(int));
}

TEST_CASE("names of types are shown as people write them, and others as they are", "[platform]") {
    const std::string readable = rs::detail::demangled_name(typeid(boiler_error).name()).get();

    CHECK(readable.ends_with("::boiler_error"));
    CHECK(std::string(rs::detail::demangled_name("no name of a type").get()) == "no name of a type");
}

} // namespace
