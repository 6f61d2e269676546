// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/call_context.hpp>

#include <cstddef>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

/// Clients of services that do not exist, and the services' faults, in virtual time.
namespace simulated {

namespace rs = resilience;

/// No answer came: refused, reset, timed out, cancelled. The code says which.
struct transport_error : std::system_error {
    explicit transport_error(std::errc code) : std::system_error(std::make_error_code(code)) {}
};

/// What a server does with one request.
struct turn {
    int status = 200;
    std::string body = "{}";
    std::optional<rs::duration> retry_after{};
    rs::duration latency{0};     ///< until it answers; duration::max(): it never does
    std::exception_ptr thrown{}; ///< instead of an answer

    turn after(rs::duration time) const {
        turn later = *this;
        later.latency = time;
        return later;
    }
    turn with_retry_after(rs::duration hint) const {
        turn hinting = *this;
        hinting.retry_after = hint;
        return hinting;
    }
};

// The words of a script.

inline turn ok(std::string body = "{}") { return {.body = std::move(body)}; }
/// An HTTP status, or for other protocols the server's error code.
inline turn status(int code) { return {.status = code, .body = ""}; }
template <class E>
turn throws(E exception) {
    return {.thrown = std::make_exception_ptr(std::move(exception))};
}
inline turn refuses_connection() { return throws(transport_error(std::errc::connection_refused)); }
inline turn resets_connection() { return throws(transport_error(std::errc::connection_reset)); }
inline turn hangs() { return turn{}.after(rs::duration::max()); }
/// Status 200, and a body that breaks off.
inline turn malformed() { return ok(R"({"issues":[{"key":)"); }

/// A server's behaviour, one turn for each request and then one for ever. May be used from any thread.
class fault_script {
public:
    explicit fault_script(rs::time_source& clock) : clock_(&clock) {}

    /// The next requests, after those that are in the script already.
    void then(const turn& next, std::size_t times = 1) {
        const std::lock_guard lock(mutex_);
        turns_.insert(turns_.end(), times, next);
    }
    /// All requests beyond the script. At first: ok().
    void otherwise(turn last) {
        const std::lock_guard lock(mutex_);
        otherwise_ = std::move(last);
    }

    /// Plays the next turn, for as long as the context allows: like a socket that was given
    /// ctx.remaining() as its limit and is closed by the stop token.
    turn serve(std::string request, rs::call_context& ctx) {
        const turn now = begin(std::move(request));
        const rs::duration limit = ctx.remaining();
        const bool in_time = now.latency <= limit && now.latency != rs::duration::max();
        if (now.latency > rs::duration{0}) {
            const rs::duration wait = in_time ? now.latency : limit;
            clock_->sleep_until(rs::saturating_add(clock_->now(), wait), ctx.stop_token());
        }
        if (ctx.stop_requested()) throw transport_error(std::errc::operation_canceled);
        if (!in_time) throw transport_error(std::errc::timed_out);
        if (now.thrown) std::rethrow_exception(now.thrown);
        return now;
    }

    /// For clients that wait in another way than serve(): what happens to the request.
    turn begin(std::string request) {
        const std::lock_guard lock(mutex_);
        requests_.push_back(std::move(request));
        if (turns_.empty()) return otherwise_;
        turn first = std::move(turns_.front());
        turns_.pop_front();
        return first;
    }

    /// What has reached the server, in order.
    std::vector<std::string> requests() const {
        const std::lock_guard lock(mutex_);
        return requests_;
    }
    std::size_t request_count() const {
        const std::lock_guard lock(mutex_);
        return requests_.size();
    }

private:
    rs::time_source* clock_;
    mutable std::mutex mutex_;
    std::deque<turn> turns_; // guarded by mutex_, like those that follow
    turn otherwise_ = ok();
    std::vector<std::string> requests_;
};

} // namespace simulated
