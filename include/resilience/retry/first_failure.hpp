// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/failure.hpp>

#include <exception>
#include <memory>
#include <system_error>
#include <variant>

#if RESILIENCE_BODIES
#include <resilience/detail/returned.hpp>
#endif

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Keeps the first real failure of a call while the call goes on, without its value. Texts are made when it is
/// taken, except for values whose code does not tell their text. Exceptions, and values with such a code, need no
/// memory.
class first_failure {
public:
    first_failure() noexcept = default;
    first_failure(const first_failure&) = delete;
    first_failure& operator=(const first_failure&) = delete;
    ~first_failure();

    bool is_kept() const noexcept { return what_.index() != 0; }
    /// Keeps `why`, or the first failure that `why` tells of. Does nothing if one is kept, or if memory runs out.
    void keep(const failure& why) noexcept;
    void forget() noexcept;
    /// Precondition: is_kept().
    failure get() const;

private:
    // Small: this lies in the frame of every coroutine that is retried.
    struct thrown {
        std::exception_ptr exception;
        const std::exception* known;
    };
    struct coded {
        const failure::value_ops* ops;
        std::error_code code;
    };
    std::variant<std::monostate, thrown, coded, std::shared_ptr<const failure>> what_;
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION first_failure::~first_failure() = default;
RESILIENCE_FUNCTION void first_failure::forget() noexcept { what_ = std::monostate{}; }
RESILIENCE_FUNCTION void first_failure::keep(const failure& why) noexcept {
    if (is_kept()) return;
    const failure& first = (why.first() != nullptr ? *why.first() : why).innermost();
    if (const auto* ops = first.plain_ops()) {
        what_ = coded{ops, first.code()};
    } else if (first.is_exception_alone()) {
        what_ = thrown{first.exception(), first.known_exception()};
    } else {
        returned([&] { what_ = std::make_shared<const failure>(first.kept()); });
    }
}
RESILIENCE_COLD RESILIENCE_FUNCTION failure first_failure::get() const {
    if (const auto* caught = std::get_if<thrown>(&what_)) return failure(caught->exception, caught->known);
    if (const auto* value = std::get_if<coded>(&what_)) return failure::kept_code(*value->ops, value->code);
    return **std::get_if<std::shared_ptr<const failure>>(&what_);
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
