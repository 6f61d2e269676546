// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/failure.hpp>
#include <resilience/detail/returned.hpp>
#include <resilience/stats.hpp>

#include <cstddef>
#include <memory>
#include <system_error>
#include <typeinfo>
#include <utility>

#if RESILIENCE_BODIES
#include <resilience/detail/text.hpp>
#endif

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A failure's type and text, for people. The text of a failing value with a code is made by whoever reads it: an
/// outage has many failures, and few are read. An exception says its text at once, and is not kept.
class noted_failure {
public:
    using texts_type = circuit_breaker_stats::error_text;

    /// A failure of which nothing is known.
    noted_failure() noexcept = default;
    /// Its texts are empty, if memory runs out or what() throws.
    explicit noted_failure(const failure& why) noexcept;

    /// The texts. Runs the user's code: that of the error category.
    texts_type texts() const;
    /// A copy, to be read outside of a lock.
    noted_failure copy() const;

private:
    static constexpr std::size_t longest = 256;

    bool is_known_ = false;
    const failure::value_ops* ops_ = nullptr; // of a value whose text is that of code_
    std::error_code code_{};
    std::unique_ptr<const texts_type> made_; // the type's name is mangled
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION noted_failure::noted_failure(const failure& why) noexcept : is_known_(true) {
    if (const auto* ops = why.plain_ops()) {
        ops_ = ops;
        code_ = why.code();
        return;
    }
    returned([&] {
        const std::type_info* type = why.type();
        texts_type texts{type != nullptr ? type->name() : "unknown", why.message().substr(0, longest)};
        made_ = std::make_unique<const texts_type>(std::move(texts));
    });
}
RESILIENCE_FUNCTION noted_failure::texts_type noted_failure::texts() const {
    texts_type t;
    returned([&] {
        if (ops_ != nullptr) t = {type_name(*ops_->type), code_.message()};
        else if (made_) t = {demangled(made_->type.c_str()), made_->message};
        else if (!is_known_) t = {"unknown", failure().message()};
    });
    if (t.message.size() > longest) t.message.resize(longest);
    return t;
}
RESILIENCE_FUNCTION noted_failure noted_failure::copy() const {
    noted_failure other;
    other.is_known_ = is_known_;
    other.ops_ = ops_;
    other.code_ = code_;
    if (made_) other.made_ = std::make_unique<const texts_type>(*made_);
    return other;
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
