// SPDX-License-Identifier: Apache-2.0
#include "load.hpp"

#include <resilience/error.hpp>

#include <cmath>
#include <exception>
#include <random>
#include <utility>

namespace demo {

std::vector<planned_call> plan_calls(nanoseconds length, std::uint64_t seed) {
    // The standard's distributions differ between libraries; the engine does not.
    std::mt19937_64 random(seed);
    const auto uniform = [&] { return static_cast<double>(random() >> 11) * 0x1p-53; }; // in [0, 1)

    std::vector<planned_call> plan;
    std::chrono::duration<double> due{0};
    while (true) {
        due += std::chrono::duration<double>(-std::log(1.0 - uniform()) / arrival_rate);
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

load_run::load_run(const std::vector<planned_call>& plan, clock::time_point start, call_function make_call)
    : plan_(plan), start_(start), make_call_(std::move(make_call)), records_(plan.size()) {
    for (unsigned i = 0; i < worker_threads; ++i) {
        workers_.emplace_back([this](const std::stop_token& stop) { work(stop); });
    }
}

load_run::tally load_run::counts() const noexcept {
    return {succeeded_.load(std::memory_order_relaxed), rejected_.load(std::memory_order_relaxed),
            failed_.load(std::memory_order_relaxed)};
}

void load_run::stop() {
    for (auto& worker : workers_) worker.request_stop();
    finish();
}

const std::vector<call_record>& load_run::finish() {
    for (auto& worker : workers_) {
        if (worker.joinable()) worker.join();
    }
    return records_;
}

void load_run::work(const std::stop_token& stop) {
    while (true) {
        const std::size_t i = next_.fetch_add(1, std::memory_order_relaxed);
        if (i >= plan_.size() || !wait_until(start_ + plan_[i].due, stop)) return;
        const ending how = make(plan_[i]);
        const nanoseconds latency = clock::now() - (start_ + plan_[i].due);
        records_[i] = {how == ending::succeeded && latency > patience ? ending::late : how, latency};
        auto& count = records_[i].how == ending::succeeded  ? succeeded_
                      : records_[i].how == ending::rejected ? rejected_
                                                            : failed_;
        count.fetch_add(1, std::memory_order_relaxed);
    }
}

bool load_run::wait_until(clock::time_point due, const std::stop_token& stop) {
    if (clock::now() < due) {
        std::unique_lock lock(mutex_);
        waiting_.wait_until(lock, stop, due, [] { return false; });
    }
    return !stop.stop_requested();
}

ending load_run::make(const planned_call& call) {
    try {
        make_call_(call, start_ + call.due + patience);
        return ending::succeeded;
    } catch (const resilience::circuit_open_error&) {
        return ending::rejected;
    } catch (const std::exception&) {
        return ending::failed;
    }
}

} // namespace demo
