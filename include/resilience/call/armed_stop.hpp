// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/silence.hpp>
#include <resilience/call/time.hpp>
#include <resilience/detail/sync.hpp>

#include <memory>
#include <stop_token>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

struct stop_request {
    std::stop_source source;
    void operator()() {
        // The request may resume a coroutine that ends and destroys the owner of `source` before the
        // request returns: a copy asks.
        std::stop_source(source).request_stop();
    }
};

/// Passes a stop request on while it lives.
class stop_link {
public:
    stop_link(const std::stop_token& from, const std::stop_source& to) : link_(from, stop_request{to}) {}

private:
    std::stop_callback<stop_request> link_;
};

/// The stop token of an attempt with a limit: requested at a moment, when `outer` is, and at the end of the attempt's
/// silence.
class armed_stop {
public:
    /// `watch` may be null.
    armed_stop(time_source& clock, time_point at, const std::stop_token& outer, const silence_watch* watch);
    ~armed_stop();
    armed_stop(const armed_stop&) = delete;
    armed_stop& operator=(const armed_stop&) = delete;

    std::stop_source source;

private:
    std::unique_ptr<silence_stop> silence_;
    std::stop_callback<stop_request> outer_link_;
    timer deadline_;
};

/// Says of a stop token that its owner requests it at a deadline.
struct stop_at_deadline {
    atomic<bool> struck{false};    // true: the deadline is why; set before the request
    atomic<bool> abandoned{false}; // the work was given up; relaxed: it is shown, and orders nothing
    const time_source* clock = nullptr;
    time_point deadline = time_point::max();
};

/// Joins two stop tokens, the enclosing call's and the caller's: a request on either arrives at `token`.
struct joined_stop {
    joined_stop(const std::stop_token& one, const std::stop_token& other, std::unique_ptr<joined_stop> e)
        : earlier(std::move(e)), one_link(one, stop_request{source}), other_link(other, stop_request{source}),
          token(source.get_token()) {}

    std::unique_ptr<joined_stop> earlier; // keeps alive the token that `one` may be
    std::stop_source source;
    std::stop_callback<stop_request> one_link;
    std::stop_callback<stop_request> other_link;
    std::stop_token token;
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION armed_stop::armed_stop(time_source& clock, time_point at, const std::stop_token& outer,
                                           const silence_watch* watch)
    : silence_(watch != nullptr ? std::make_unique<silence_stop>(clock, *watch, outer) : nullptr),
      outer_link_(silence_ != nullptr ? silence_->get_token() : outer, stop_request{source}) {
    if (at != time_point::max()) deadline_ = clock.call_at(at, stop_request{source});
}
RESILIENCE_FUNCTION armed_stop::~armed_stop() = default;
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
