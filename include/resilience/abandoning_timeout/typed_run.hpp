// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/abandoning_timeout/run.hpp>
#include <resilience/call/outcome.hpp>
#include <resilience/call/rejection.hpp>
#include <resilience/detail/platform.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A run with the copied work and the place of its outcome. `Make` returns the work, which is constructed in
/// place and never moved.
template <class R, class Make>
class typed_run final : public abandonable_run {
public:
    typed_run(std::shared_ptr<abandoning_timeout_core> core, const call_context& caller, time_point until,
              const Make& make, std::shared_ptr<silence_watch> watch = nullptr)
        : abandonable_run(std::move(core), caller, until, std::move(watch)),
          work_(std::in_place, in_place_maker{make}) {}

    /// Gives the outcome of a finished run to its caller.
    void take(outcome<R>& out) {
        if (out_.is_empty())
            out_.fail(rejection{.code = errc::cancelled, .reason = "the callable ended its thread"});
        out = std::move(out_);
        out_.clear();
        release_policy();
    }

private:
    using owned = std::invoke_result_t<const Make&>;
    /// Converts to the work, so that std::optional constructs it in place.
    struct in_place_maker {
        const Make& make;
        operator owned() const { return make(); } // NOLINT(google-explicit-constructor)
    };

    void work(call_context& ctx) override {
#if RESILIENCE_EXCEPTIONS
        try {
            (*work_)(out_, ctx);
        } catch (forced_unwind&) {
            throw;
        } catch (...) { // thrown by a policy, not by the callable
            out_.fail(failure(std::current_exception()));
        }
#else
        (*work_)(out_, ctx);
#endif
    }
    void drop_work() noexcept override { work_.reset(); }
    bool drop_outcome() noexcept override {
        const bool any = out_.has_value() || out_.has_failure();
        out_.clear();
        return any;
    }

    std::optional<owned> work_;
    outcome<R> out_; // the worker's until the run has finished, then the caller's
};

}}} // namespace resilience::RESILIENCE_ABI::detail
