// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/environment/statistics.hpp>
#include <resilience/monitoring/prometheus_text.hpp>
#include <resilience/stats.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

// The metrics of statistics whose description names a family, for policies of any kind.

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A policy's snapshot, with its texts escaped for labels.
struct exposed_policy {
    explicit exposed_policy(policy_snapshot snapshot)
        : p(std::move(snapshot)), kind(label_value(p.kind)), name(label_value(p.name)) {
        for (const auto& [label, value] : p.labels)
            labels.append(",").append(label).append("=\"").append(label_value(value)).append("\"");
    }

    const statistic* find(std::string_view wanted) const {
        const auto found = std::ranges::find(p.statistics, wanted, &statistic::name);
        return found == p.statistics.end() ? nullptr : &*found;
    }

    policy_snapshot p;
    std::string kind;
    std::string name;
    std::string labels; // written to follow others: they begin with a comma
};
using exposed_policies = std::vector<exposed_policy>;

/// A statistic whose family has samples of policies of all kinds.
struct common_metric {
    std::string_view statistic;
    std::string_view family;
    std::string_view help;
};
inline constexpr std::array<common_metric, 2> common_metrics{
    {{"rejected", "rejections_total", "Attempts that a policy refused."},
     {"predicate_errors", "predicate_errors_total", "Predicates and callbacks of the user's that threw."}}};

/// The families of all described statistics. Families with the label `kind` come first.
class described_families {
public:
    explicit described_families(const exposed_policies& all) {
        for (const auto& policy : all) {
            if (known_.empty() || known_.front().kind != policy.p.kind) known_.clear();
            for (const statistic& s : policy.p.statistics) {
                if (has_metric(s)) add(policy, s);
            }
        }
    }
    void expose(exposition& out) const {
        for (const bool by_kind : {true, false}) {
            for (const auto& f : families_) {
                if (f.by_kind != by_kind) continue;
                out.family(f.name, f.type == statistic_kind::counter ? "counter" : "gauge", f.help);
                for (const auto& s : f.samples) {
                    out.of_policy(s.of->labels);
                    std::visit([&](auto value) { write(out, s, value); }, s.value);
                }
            }
        }
    }

private:
    using number = std::variant<std::uint64_t, double>;
    struct sample {
        const exposed_policy* of;
        std::string_view as;
        number value;
    };
    struct family {
        std::string name;
        statistic_kind type;
        std::string_view help;
        bool by_kind;
        std::vector<sample> samples;
    };
    /// The family of a statistic, remembered so that names are put together once for each kind of policy.
    struct known {
        std::string_view kind;
        std::string_view name;
        std::string_view family; // as it was described
        std::size_t index;
    };

    static bool has_metric(const statistic& s) {
        const bool is_common =
            s.family.empty() &&
            std::ranges::find(common_metrics, s.name, &common_metric::statistic) != common_metrics.end();
        const auto* number = std::get_if<double>(&s.value);
        return s.kind != statistic_kind::undescribed && s.family != no_metric && !is_common &&
               !std::holds_alternative<std::string>(s.value) && (number == nullptr || !(*number < 0));
    }
    static std::string family_name(std::string_view kind, const statistic& s) {
        std::string all(s.family);
        if (all.empty()) {
            all.append(kind).append("_").append(s.name);
            if (!s.unit.empty()) all.append("_").append(s.unit);
            if (s.kind == statistic_kind::counter) all += "_total";
        }
        const auto stays = [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        };
        std::ranges::replace_if(all, [&](char c) { return !stays(c); }, '_');
        return all;
    }
    family& family_of(const exposed_policy& policy, const statistic& s) {
        for (const known& k : known_) {
            if (k.name == s.name && k.family == s.family) return families_[k.index];
        }
        std::string wanted = family_name(policy.p.kind, s);
        auto found = std::ranges::find(families_, wanted, &family::name);
        if (found == families_.end())
            found = families_.insert(found, {std::move(wanted), s.kind, s.help, !s.as.empty(), {}});
        const auto index = static_cast<std::size_t>(found - families_.begin());
        known_.push_back({policy.p.kind, s.name, s.family, index});
        return *found;
    }
    void add(const exposed_policy& policy, const statistic& s) {
        auto& samples = family_of(policy, s).samples;
        const number value = std::holds_alternative<double>(s.value)
                                 ? number(std::get<double>(s.value))
                                 : number(std::get<std::uint64_t>(s.value));
        for (auto other = samples.rbegin(); other != samples.rend() && other->of == &policy; ++other) {
            if (other->as == s.as) {
                other->value = sum(other->value, value);
                return;
            }
        }
        samples.push_back({&policy, s.as, value});
    }
    static number sum(const number& a, const number& b) {
        if (const auto *x = std::get_if<std::uint64_t>(&a), *y = std::get_if<std::uint64_t>(&b); x && y)
            return *x + *y;
        const auto real = [](const number& n) {
            return std::visit([](auto value) { return static_cast<double>(value); }, n);
        };
        return real(a) + real(b);
    }
    template <class Number>
    static void write(exposition& out, const sample& s, Number value) {
        if (s.as.empty()) out.sample({{"name", s.of->name}}, value);
        else out.sample({{"name", s.of->name}, {"kind", s.as}}, value);
    }

    std::vector<family> families_;
    std::vector<known> known_;
};

}}} // namespace resilience::RESILIENCE_ABI::detail
