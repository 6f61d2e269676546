// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/error.hpp>
#include <resilience/call/failure.hpp>
#include <resilience/detail/returned.hpp>
#include <resilience/stats.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <system_error>
#include <typeinfo>
#include <utility>

#if RESILIENCE_BODIES
#include <resilience/detail/text.hpp>
#endif

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A failure's type and text, for people. The text of a code of the standard categories, or of ours, is made by whoever
/// reads it: an outage has many failures, and few are read. Other texts are made at once, since their category, their
/// type and their exception may be gone by then, with the plugin that they came from.
class noted_failure {
public:
    using texts_type = circuit_breaker_stats::error_text;

    /// A failure of which nothing is known. Were this defaulted, {} would clear all of it first.
    noted_failure() noexcept {} // NOLINT(modernize-use-equals-default)
    /// Its texts are empty, if memory runs out or what() throws.
    explicit noted_failure(const failure& why) noexcept;

    /// To be called while the failure's type is there, with the note that this one replaces: it may have the same type.
    void keep_type(noted_failure& before) noexcept;

    bool has_timed_out() const noexcept { return has_timed_out_; }
    texts_type texts() const;
    /// A copy, to be read outside of a lock.
    noted_failure copy() const;

private:
    static constexpr std::size_t longest = 256;

    bool is_known_ = false;
    bool has_timed_out_ = false;
    const failure::value_ops* ops_ =
        nullptr; // of a value whose text is that of code_; read by keep_type() alone
    std::error_code code_{};
    std::unique_ptr<const texts_type> made_; // the type is mangled; no message if that is code_'s
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION noted_failure::noted_failure(const failure& why) noexcept
    : is_known_(true), has_timed_out_(why.has_timed_out()), code_(why.code()) {
    const auto stays = [](const std::error_category& c) {
        return c == std::generic_category() || c == std::system_category() || c == error_category();
    };
    if (stays(code_.category())) ops_ = why.plain_ops();
    if (ops_ != nullptr) return;
    code_ = {};
    returned([&] {
        const std::type_info* type = why.type();
        texts_type texts{type != nullptr ? type->name() : "unknown", why.message().substr(0, longest)};
        made_ = std::make_unique<const texts_type>(std::move(texts));
    });
}
RESILIENCE_FUNCTION void noted_failure::keep_type(noted_failure& before) noexcept {
    if (ops_ == nullptr) return;
    if (before.ops_ == ops_) made_.swap(before.made_);
    else returned([&] { made_ = std::make_unique<const texts_type>(texts_type{ops_->type->name(), {}}); });
}
RESILIENCE_COLD RESILIENCE_FUNCTION noted_failure::texts_type noted_failure::texts() const {
    texts_type t;
    returned([&] {
        if (made_) t.type = demangled(made_->type.c_str());
        if (ops_ != nullptr) t.message = code_.message();
        else if (made_) t.message = made_->message;
        else if (!is_known_) t = {"unknown", failure().message()};
    });
    if (t.message.size() > longest) t.message.resize(longest);
    return t;
}
RESILIENCE_COLD RESILIENCE_FUNCTION noted_failure noted_failure::copy() const {
    noted_failure other;
    other.is_known_ = is_known_;
    other.has_timed_out_ = has_timed_out_;
    other.ops_ = ops_;
    other.code_ = code_;
    if (made_) other.made_ = std::make_unique<const texts_type>(*made_);
    return other;
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
