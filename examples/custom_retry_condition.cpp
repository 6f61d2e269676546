// SPDX-License-Identifier: Apache-2.0
// Which failures are worth another attempt: by an exception's type, by what is in it, by a returned value.
#include <resilience/resilience.hpp>

#include <chrono>
#include <iostream>
#include <stdexcept>
#include <string>

namespace rs = resilience;
using namespace std::chrono_literals;

struct deadlock : std::runtime_error {
    using std::runtime_error::runtime_error;
};
struct constraint_violated : std::runtime_error {
    using std::runtime_error::runtime_error;
};
struct vendor_error : std::runtime_error {
    explicit vendor_error(int c) : std::runtime_error("vendor error " + std::to_string(c)), code(c) {}
    int code;
};

/// Runs `attempt(number)` under the retry and tells how often it was called.
template <class Attempt>
static void show(const char* title, const rs::retry& retry, Attempt attempt) {
    unsigned calls = 0;
    const auto result = retry.try_call([&] { return attempt(++calls); });
    std::cout << title << ": " << calls << (calls == 1 ? " attempt, " : " attempts, ");
    if (result) std::cout << "result '" << result.value() << "'\n";
    else std::cout << "failed with '" << result.error().message() << "'\n";
}

int main() {
    // By type. A deadlock passes; a violated constraint will be violated again.
    const rs::retry on_deadlock({.base_delay = 5ms, .retry_if = rs::on<deadlock>()});
    show("deadlock", on_deadlock, [](unsigned n) -> std::string {
        if (n == 1) throw deadlock("deadlock found");
        return "saved";
    });
    show("constraint", on_deadlock,
         [](unsigned) -> std::string { throw constraint_violated("duplicate key"); });

    // By what is inside, and put together with &&, || and !.
    const rs::retry on_some(
        {.base_delay = 5ms,
         .retry_if =
             rs::on<vendor_error>([](const vendor_error& e) { return e.code != 7; }) || rs::on<deadlock>()});
    show("vendor error 3", on_some, [](unsigned n) -> std::string {
        if (n < 3) throw vendor_error(3);
        return "done";
    });
    show("vendor error 7", on_some, [](unsigned) -> std::string { throw vendor_error(7); });

    // By a value: "pending" is no failure by itself, but here it is asked again until there is more to say.
    const rs::retry until_done(
        {.max_attempts = 5,
         .base_delay = 5ms,
         .retry_if = rs::on_result<std::string>([](const std::string& s) { return s == "pending"; })});
    show("a job", until_done, [](unsigned n) -> std::string { return n < 4 ? "pending" : "finished"; });

    // By any question about the failure: a plain lambda.
    const rs::retry by_text({.base_delay = 5ms, .retry_if = [](const rs::failure& why) {
                                 return why.message().find("try again") != std::string::npos;
                             }});
    show("busy", by_text, [](unsigned n) -> std::string {
        if (n == 1) throw std::runtime_error("busy, try again");
        return "free";
    });
}
