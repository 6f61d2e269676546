// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/error.hpp>
#include <resilience/detail/name.hpp>
#include <resilience/environment/field_values.hpp>
#include <resilience/environment/registered_policy.hpp>

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#if RESILIENCE_BODIES
#include <resilience/detail/quote.hpp>
#include <resilience/settings/text.hpp>
#endif

// Settings: the fields of a config that can be written as text, for views, updates and variables. They are
// all fields but the name (an identity), the labels, callables and budgets. A struct with parts is one
// setting for each part. Setting a part of an optional struct turns the struct on; unsetting a part turns it
// off.

namespace resilience { inline namespace RESILIENCE_ABI {

/// A field of a config and its value.
struct setting {
    std::string_view name;
    setting_value value;
};

/// A new value for a field, as text. Without a text an optional field becomes unset.
struct change {
    std::string name;
    std::optional<std::string> text;
};

namespace detail {

/// The name of a part: recovery_backoff_cap. It lives as long as the program; there are few.
std::string_view part_name(const field& whole, const field& part);

std::vector<setting> settings_in(const field_list& list);

/// A setting that can be written. Unset: nothing is there, which only some can be.
struct setting_place {
    std::string_view name;
    bool can_be_unset;
};

/// A source of new values for settings.
class new_settings {
public:
    /// The new value of a setting; null if it stays as it is.
    virtual const change* find(const setting_place& setting) = 0;
    /// Throws the complaint about a change that cannot be made.
    virtual void refuse(const setting_place& setting, const change& wrong, const std::string& accepted) = 0;

protected:
    ~new_settings() = default;
};

void write_field(const field& f, const setting_place& place, const change& to, new_settings& from);
void write_parts(const field& whole, new_settings& from);
void write_settings(const field_list& list, new_settings& from);

/// Applies changes to the fields that they name.
class changes_editor final : public config_editor, private new_settings {
public:
    explicit changes_editor(std::vector<change> changes)
        : changes_(std::move(changes)), known_(changes_.size(), 'n') {}

    RESILIENCE_FUNCTION void edit(field_list& fields) override;

private:
    static std::string shown(std::string_view text);
    RESILIENCE_FUNCTION const change* find(const setting_place& setting) override;
    RESILIENCE_FUNCTION void refuse(const setting_place& setting, const change& wrong,
                                    const std::string& accepted) override;

    const std::vector<change> changes_;
    std::string known_; // a 'y' for each change that named a field
};

} // namespace detail

/// The fields of a config that can be written as text, in their order.
template <described Config>
std::vector<setting> settings_of(const Config& config) {
    return detail::settings_in(detail::fields_of(config));
}

/// Returns the config with the changes made. Throws std::invalid_argument that names the field, its value and
/// the accepted values, also if the config as a whole is not valid then.
template <described Config>
Config with_changes(Config config, const std::vector<change>& changes) {
    field_list list;
    fields(config, list);
    detail::changes_editor(changes).edit(list);
    detail::require_valid(detail::complaint_about(config));
    return config;
}

#if RESILIENCE_BODIES
namespace detail {
RESILIENCE_COLD RESILIENCE_FUNCTION std::string_view part_name(const field& whole, const field& part) {
    return name(std::string(whole.name) + "_" + std::string(part.name)).str();
}
RESILIENCE_COLD RESILIENCE_FUNCTION std::vector<setting> settings_in(const field_list& list) {
    std::vector<setting> all;
    all.reserve(list.size() + 2);
    for (const field& f : list) {
        if (f.type == field_type::hidden) continue;
        if (f.type != field_type::parts) {
            all.push_back({f.name, show(f)});
            continue;
        }
        const void* const whole = f.parts->get(f.value);
        field_list parts;
        f.parts->list(const_cast<void*>(whole), parts);
        for (const field& part : parts)
            all.push_back({part_name(f, part), whole != nullptr ? show(part) : setting_value{}});
    }
    return all;
}
RESILIENCE_COLD RESILIENCE_FUNCTION void write_field(const field& f, const setting_place& place,
                                                     const change& to, new_settings& from) {
    const bool written = to.text ? parse(*to.text, f) : f.optional;
    if (!written) from.refuse(place, to, accepted(f));
    if (!to.text) unset(f);
}
RESILIENCE_COLD RESILIENCE_FUNCTION void write_parts(const field& whole, new_settings& from) {
    bool off = false;
    field_list names;
    whole.parts->list(nullptr, names);
    for (std::size_t i = 0; i < names.size(); ++i) {
        const setting_place place{part_name(whole, names[i]), whole.optional || names[i].optional};
        const change* const to = from.find(place);
        if (to == nullptr) continue;
        if (!to->text && whole.optional) {
            off = true;
            continue;
        }
        field_list parts;
        whole.parts->list(whole.parts->make(whole.value), parts);
        write_field(parts[i], place, *to, from);
    }
    if (off) whole.parts->unset(whole.value);
}
RESILIENCE_COLD RESILIENCE_FUNCTION void write_settings(const field_list& list, new_settings& from) {
    for (const field& f : list) {
        const setting_place place{f.name, f.optional};
        if (f.type == field_type::hidden) continue;
        if (f.type == field_type::parts) {
            write_parts(f, from);
        } else if (const change* const to = from.find(place)) {
            write_field(f, place, *to, from);
        }
    }
}
RESILIENCE_FUNCTION void changes_editor::edit(field_list& fields) {
    write_settings(fields, *this);
    for (std::size_t i = 0; i < known_.size(); ++i) {
        if (known_[i] != 'y')
            raise(std::invalid_argument("there is no field '" + shown(changes_[i].name) +
                                        "' that can be changed"));
    }
}
RESILIENCE_COLD RESILIENCE_FUNCTION std::string changes_editor::shown(std::string_view text) {
    constexpr std::size_t most = 64; // bytes: the text may be of any length
    return std::string(clipped(text, most));
}
RESILIENCE_FUNCTION const change* changes_editor::find(const setting_place& setting) {
    for (std::size_t i = 0; i < known_.size(); ++i) {
        if (changes_[i].name != setting.name) continue;
        known_[i] = 'y';
        return &changes_[i];
    }
    return nullptr;
}
RESILIENCE_FUNCTION void changes_editor::refuse(const setting_place& setting, const change& wrong,
                                                const std::string& accepted) {
    raise(std::invalid_argument(wrong.name + " is " + (wrong.text ? "'" + shown(*wrong.text) + "'" : "null") +
                                "; it must be " + accepted + (setting.can_be_unset ? ", or null" : "")));
}
} // namespace detail
#endif

}} // namespace resilience::RESILIENCE_ABI
