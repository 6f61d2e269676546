// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/registry.hpp>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace support {

/// Every event of a registry since it was made, for tests with one thread.
class heard {
public:
    explicit heard(resilience::registry& where)
        : subscription_(where.subscribe([this](const resilience::event& e) { events.push_back(e); })) {}

    std::vector<resilience::event> of(resilience::event_kind kind) const {
        std::vector<resilience::event> found;
        std::copy_if(events.begin(), events.end(), std::back_inserter(found),
                     [kind](const resilience::event& e) { return e.kind == kind; });
        return found;
    }
    std::size_t count(resilience::event_kind kind) const { return of(kind).size(); }

    std::vector<resilience::event> events;

private:
    resilience::subscription subscription_;
};

} // namespace support
