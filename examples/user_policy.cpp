// SPDX-License-Identifier: Apache-2.0
// A policy of your own. It derives from nothing: a handle with begin(), and a per-call object that is asked
// before an attempt and told after it.
#include <resilience/resilience.hpp>

#include <atomic>
#include <chrono>
#include <exception>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <utility>

namespace rs = resilience;
using namespace std::chrono_literals;

struct quota_spent : std::runtime_error {
    quota_spent() : std::runtime_error("the quota is spent") {}
};

/// So many successful calls and no more, as a supplier's contract may say. A handle: copies share the quota.
class quota {
public:
    explicit quota(int calls) : left_(std::make_shared<std::atomic<int>>(calls)) {}

    int left() const { return left_->load(); }

    class attempt {
    public:
        explicit attempt(std::shared_ptr<std::atomic<int>> left) : left_(std::move(left)) {}
        attempt(const attempt&) = delete;
        attempt& operator=(const attempt&) = delete;
        /// A call that was abandoned costs nothing: what was taken and not settled is given back.
        ~attempt() { give_back(); }

        rs::admission admit(rs::call_context&) {
            if (left_->fetch_sub(1) <= 0) {
                left_->fetch_add(1);
                return rs::admission::reject(rs::failure(std::make_exception_ptr(quota_spent())));
            }
            taken_ = true;
            return rs::admission::go();
        }
        rs::settlement settle(const rs::attempt_result& result, rs::call_context&) {
            if (result.succeeded()) taken_ = false; // spent
            else give_back();
            return rs::settlement::finish();
        }

    private:
        void give_back() {
            if (std::exchange(taken_, false)) left_->fetch_add(1);
        }
        std::shared_ptr<std::atomic<int>> left_;
        bool taken_ = false;
    };
    attempt begin(rs::call_context&) const { return attempt(left_); }

private:
    std::shared_ptr<std::atomic<int>> left_;
};
static_assert(rs::policy<quota>);

int main() {
    const quota contract(2);
    // It joins with `|` beside one of the library's, or alone with rs::pipeline{contract}.
    const auto guard = rs::retry({.base_delay = 5ms, .retry_if = rs::not_on<quota_spent>()}) | contract;

    int requests = 0;
    const auto flaky = [&] {
        if (++requests % 2 == 1) throw std::runtime_error("connection lost");
    };
    for (int call = 1; call <= 3; ++call) {
        const auto result = guard.try_call(flaky);
        std::cout << "call " << call << ": " << (result ? "done" : result.error().message()) << "; "
                  << requests << " requests so far, " << contract.left() << " left in the quota\n";
    }
}
