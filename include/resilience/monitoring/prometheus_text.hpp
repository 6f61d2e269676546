// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/quote.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

// The text exposition format of Prometheus, version 0.0.4.

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Escapes a text for a label's quotes. A byte that is not part of well-formed UTF-8 becomes U+FFFD.
inline std::string label_value(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        const auto [code, length] = first_character(text);
        if (length == 0) out += "\xEF\xBF\xBD";
        else if (code == '\n') out += "\\n";
        else if (code == '\\' || code == '"') (out += '\\') += text.front();
        else out += text.substr(0, length);
        text.remove_prefix(std::max<std::size_t>(length, 1));
    }
    return out;
}

/// The value must be escaped already.
struct metric_label {
    std::string_view name;
    std::string_view value;
};

/// Writes families of samples one after the other. A family without samples writes nothing.
class exposition {
public:
    explicit exposition(std::string_view prefix) : prefix_(prefix) {}
    /// Gives the text to the sink in pieces. After the sink returned false nothing is kept any more.
    exposition(std::string_view prefix, std::function<bool(std::string_view)> sink)
        : prefix_(prefix), sink_(std::move(sink)) {}

    void family(std::string_view name, std::string_view type, std::string_view help) {
        name_.assign(prefix_).append("_").append(name);
        type_ = type;
        help_ = help;
        more_ = {};
        begun_ = false;
    }
    /// The next samples of the family are of a policy with these labels, which begin with a comma or are
    /// empty.
    void of_policy(std::string_view labels) { more_ = labels; }
    /// `part` follows the family's name in this sample. The text is appended piece by piece: a scrape has
    /// tens of thousands of samples, and a format string for each took most of its time.
    template <class Number>
    void sample(std::initializer_list<metric_label> labels, Number value, std::string_view part = {}) {
        if (!std::exchange(begun_, true)) {
            out_.append("# HELP ").append(name_).append(" ").append(help_);
            out_.append("\n# TYPE ").append(name_).append(" ").append(type_).append("\n");
        }
        out_.append(name_).append(part);
        char before = '{';
        for (const auto& label : labels) {
            out_ += std::exchange(before, ',');
            out_.append(label.name).append("=\"").append(label.value).append("\"");
        }
        out_.append(more_).append(before == '{' ? " " : "} ");
        append(value);
        out_ += '\n';
        if (sink_ && out_.size() >= piece_size) pass_on();
    }
    std::string take() { return std::move(out_); }
    /// Gives the rest to the sink.
    void finish() { pass_on(); }

private:
    static constexpr std::size_t piece_size = 65'536; // bytes, about

    void pass_on() {
        wanted_ = wanted_ && sink_(out_);
        out_.clear();
    }
    void append(std::unsigned_integral auto value) {
        const fmt::format_int digits(value);
        out_.append(digits.data(), digits.size());
    }
    void append(double value) {
        if (std::isnan(value)) out_ += "NaN";
        else if (std::isinf(value)) out_ += value > 0 ? "+Inf" : "-Inf";
        else out_ += fmt::format("{}", value);
    }

    std::string_view prefix_;
    std::function<bool(std::string_view)> sink_{}; // empty: the text is kept as a whole
    bool wanted_ = true;
    std::string out_;
    std::string name_; // of the family, with the prefix
    std::string_view type_;
    std::string_view help_;
    std::string_view more_; // labels of the policy
    bool begun_ = false;
};

}}} // namespace resilience::RESILIENCE_ABI::detail
