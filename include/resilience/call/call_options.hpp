// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/call/value_ops.hpp>
#include <resilience/config.hpp>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#if RESILIENCE_BODIES
#include <resilience/call/error.hpp>
#include <resilience/detail/complaint.hpp>

#include <stdexcept>
#endif

namespace resilience { inline namespace RESILIENCE_ABI {

/// The limits of the calls around a call that hold for it too: of the blocking call that it is made in, or of
/// the context that it is given by `with(ctx)`.
enum class inherit : std::uint8_t {
    all,           ///< deadline, stop token and retry depth; priority and correlation
    deadline_only, ///< the deadline, priority and correlation: a stop request does not end the call
    nothing,       ///< the call has its own limits alone, and its own priority and correlation
};

/// The importance of a call to policies that hold load: where there is no room for all, they refuse the lower first.
enum class priority : std::uint8_t {
    sheddable, ///< may be left out at any time: prefetching, a batch that will come again
    low,       ///< nobody waits for it
    normal,
    high,     ///< somebody waits for it
    critical, ///< the service is of no use without it
};
constexpr std::array<std::pair<std::string_view, priority>, 5> words_of(priority) {
    return {{{"sheddable", priority::sheddable},
             {"low", priority::low},
             {"normal", priority::normal},
             {"high", priority::high},
             {"critical", priority::critical}}};
}

/// The id of a trace or request, from any text; copies share it. Not a std::string, which points to itself: g++ 12 moves
/// options that are written in a co_await expression byte by byte.
class correlation_id {
public:
    correlation_id() noexcept = default;
    template <class T>
        requires std::is_convertible_v<const T&, std::string_view>
    correlation_id(const T& text) : text_(copied(text)) {}

    bool empty() const noexcept { return text_ == nullptr; }
    std::string_view view() const noexcept { return empty() ? std::string_view{} : std::string_view(*text_); }
    operator std::string_view() const noexcept { return view(); }
    friend bool operator==(const correlation_id& a, const correlation_id& b) noexcept {
        return a.view() == b.view();
    }

private:
    friend class call_context;
    static std::shared_ptr<const std::string> copied(std::string_view text);

    std::shared_ptr<const std::string> text_; // null: empty
};

/// The caller's wishes for one call; see `with`.
struct call_options {
    /// The call must be over by then: no attempt starts later, no delay runs past it, and the callable
    /// sees it as ctx.deadline(). Unset: the call has only the deadline of an enclosing call, if there is
    /// one.
    std::optional<time_point> deadline{};
    /// A stop request ends waits at once. The callable sees it through ctx.stop_token().
    std::stop_token stop_token{};
    /// Unset: as the retry's config says, or the result (see idempotency_of in call/result_traits.hpp).
    std::optional<resilience::idempotency> idempotency{};
    /// A clean-up opts out: it must run although the limit of the call around it has struck, or its caller has
    /// cancelled it. Calls inside of this one inherit from this one alone.
    resilience::inherit inherit = resilience::inherit::all;
    /// Unset: that of the call around, and `normal` without one.
    std::optional<resilience::priority> priority{};
    /// The units that the call takes of a policy that weighs calls: tokens of a language model, bytes, rows. From 1.
    /// Calls inside have their own.
    std::uint32_t cost = 1;
    /// The id of a trace or request. Events, log lines and alerts of the call, and of calls inside of it, show its first
    /// 256 bytes. Empty: that of the call around.
    correlation_id correlation{};
};

/// A complaint about options that names field, value and range; empty if they are valid.
std::string validate(const call_options& options);

class call_context;

namespace detail {

/// The name, options and parent that a view adds to a call. It lives as long as the call.
struct call_request {
    std::string_view operation{};
    const call_options* options = nullptr;
    const call_context* parent = nullptr;
};
inline constexpr call_request plain_request{};

constexpr resilience::inherit inherited_with(const call_options* options) noexcept {
    return options != nullptr ? options->inherit : resilience::inherit::all;
}

[[noreturn]] void refuse_options(const call_options& options);
/// Throws std::invalid_argument if they are not valid.
inline void require_valid(const call_options& options) {
    if (options.cost == 0 || options.priority > priority::critical) [[unlikely]]
        refuse_options(options);
}

} // namespace detail

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION std::shared_ptr<const std::string> correlation_id::copied(
    std::string_view text) {
    return text.empty() ? nullptr : std::make_shared<const std::string>(text);
}
RESILIENCE_COLD RESILIENCE_FUNCTION std::string validate(const call_options& options) {
    if (options.cost == 0) return detail::complaint("call_options.cost", options.cost, "1 or more");
    if (options.priority > priority::critical) {
        const auto number = static_cast<unsigned>(*options.priority);
        return detail::complaint("call_options.priority", number,
                                 "one of sheddable, low, normal, high, critical");
    }
    return {};
}
RESILIENCE_COLD RESILIENCE_FUNCTION void detail::refuse_options(const call_options& options) {
    raise(std::invalid_argument(validate(options)));
}
#endif

}} // namespace resilience::RESILIENCE_ABI
