// SPDX-License-Identifier: Apache-2.0
#include "load.hpp"

#include <resilience/error.hpp>

#include <cmath>
#include <exception>
#include <random>
#include <utility>

namespace demo {

std::vector<planned_call> plan_calls(nanoseconds length, int rate, std::uint64_t seed) {
    // The standard's distributions differ between libraries; the engine does not.
    std::mt19937_64 random(seed);
    const auto uniform = [&] { return static_cast<double>(random() >> 11) * 0x1p-53; }; // in [0, 1)

    std::vector<planned_call> plan;
    std::chrono::duration<double> due{0};
    while (true) {
        due += std::chrono::duration<double>(-std::log(1.0 - uniform()) / rate);
        const auto at = std::chrono::duration_cast<nanoseconds>(due);
        if (at >= length) return plan;
        const double kind = uniform();
        const auto what = kind < 0.25   ? operation::search_issues
                          : kind < 0.45 ? operation::get_issue
                          : kind < 0.50 ? operation::create_issue
                          : kind < 0.80 ? operation::get_page_content
                                        : operation::search_content;
        plan.push_back({at, what, static_cast<unsigned>(random() % 1000)});
    }
}

ending ending_by(const std::exception_ptr& e) noexcept {
    if (!e) return ending::succeeded;
    try {
        std::rethrow_exception(e);
    } catch (const resilience::circuit_open_error&) {
        return ending::rejected;
    } catch (...) {
        return ending::failed;
    }
}

void call_log::began() noexcept {
    const std::uint64_t now = in_flight_.fetch_add(1, std::memory_order_relaxed) + 1;
    std::uint64_t most = most_in_flight();
    while (now > most && !most_.compare_exchange_weak(most, now, std::memory_order_relaxed)) {}
}

void call_log::ended(std::size_t i, ending how) noexcept {
    const nanoseconds latency = clock::now() - due(i);
    if (how == ending::succeeded && latency > patience_) how = ending::late;
    records_[i] = {how, latency};
    auto& count = how == ending::succeeded ? succeeded_ : how == ending::rejected ? rejected_ : failed_;
    count.fetch_add(1, std::memory_order_relaxed);
    in_flight_.fetch_sub(1, std::memory_order_relaxed);
}

tally call_log::counts() const noexcept {
    return {succeeded_.load(std::memory_order_relaxed), rejected_.load(std::memory_order_relaxed),
            failed_.load(std::memory_order_relaxed), in_flight_.load(std::memory_order_relaxed)};
}

load_run::load_run(call_log& log, call_function make_call) : log_(log), make_call_(std::move(make_call)) {
    for (unsigned i = 0; i < worker_threads; ++i) {
        workers_.emplace_back([this](const std::stop_token& stop) { work(stop); });
    }
}

void load_run::stop() {
    for (auto& worker : workers_) worker.request_stop();
}

void load_run::finish() {
    for (auto& worker : workers_) {
        if (worker.joinable()) worker.join();
    }
}

void load_run::work(const std::stop_token& stop) {
    while (true) {
        const std::size_t i = next_.fetch_add(1, std::memory_order_relaxed);
        if (i >= log_.plan().size() || !wait_until(log_.due(i), stop)) return;
        log_.began();
        std::exception_ptr failure;
        try {
            make_call_(log_.plan()[i], log_.deadline(i));
        } catch (...) {
            failure = std::current_exception();
        }
        log_.ended(i, ending_by(failure));
    }
}

bool load_run::wait_until(clock::time_point due, const std::stop_token& stop) {
    if (clock::now() < due) {
        std::unique_lock lock(mutex_);
        waiting_.wait_until(lock, stop, due, [] { return false; });
    }
    return !stop.stop_requested();
}

} // namespace demo
