// SPDX-License-Identifier: Apache-2.0
#pragma once

// The room of a bulkhead beside a model of it that is too slow to use and plain to read: lists that are looked through.

#include <resilience/bulkhead/room.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace support {

namespace rs = resilience;

/// Says what the rules of docs/policies/bulkhead.md say, in their words.
class bulkhead_oracle {
public:
    struct call {
        int id;
        int level;
        rs::time_point since;
        rs::time_point until;
        int place = 0; // in the order of their coming, or its reverse
    };

    std::uint64_t running = 0;
    std::vector<call> waiting; // oldest first

    /// "place", "waits", "full", "too late"; and who makes way.
    std::string enter(call c, rs::time_point now, rs::time_point deadline, const rs::bulkhead_config& config,
                      std::optional<int>& evicted) {
        if (waiting.empty() && running < config.max_concurrent) {
            ++running;
            note(rs::duration{0}, now, config);
            return "place";
        }
        if (config.max_concurrent == 0 || config.max_queue == 0 || config.max_wait == rs::duration{0})
            return "full";
        if (deadline != rs::time_point::max() && mean >= rs::duration{0}) {
            std::int64_t before = 0;
            for (const call& w : waiting) {
                const int theirs = level(w, now, config);
                before += newest(config) ? theirs > c.level : theirs >= c.level;
            }
            if (mean * (before + 1) / config.max_concurrent > deadline - now) return "too late";
        }
        if (waiting.size() >= config.max_queue) {
            // The last in the order of service.
            const auto order = served(now, config);
            if (order.empty() || level(order.back(), now, config) >= c.level) return "full";
            evicted = order.back().id;
            remove(order.back().id);
        }
        auto wait = config.max_wait;
        if (config.order == rs::queue_order::adaptive && stands) wait = std::min(wait, config.codel_target);
        c.until = std::min(deadline, now + wait);
        waiting.push_back(c);
        return "waits";
    }
    void give(rs::duration held) {
        --running;
        mean = mean < rs::duration{0} ? held : mean + (held - mean) / 8;
    }
    void remove(int id) {
        std::erase_if(waiting, [&](const call& w) { return w.id == id; });
    }
    /// All answers that are due, in any order: "7 place", "8 expired", "9 refused".
    std::vector<std::string> answers(rs::time_point now, const rs::bulkhead_config& config) {
        std::vector<std::string> all;
        for (;;) {
            if (config.max_concurrent == 0) { // no place will come
                for (const call& w : waiting) all.push_back(std::to_string(w.id) + " refused");
                waiting.clear();
            }
            if (config.order == rs::queue_order::adaptive && stands) {
                const auto cut = std::find_if(waiting.begin(), waiting.end(), [&](const call& w) {
                    return now - w.since > config.codel_target;
                });
                if (cut != waiting.end()) {
                    all.push_back(std::to_string(cut->id) + " expired");
                    waiting.erase(cut);
                    continue;
                }
            }
            if (waiting.empty() || running >= config.max_concurrent) break;
            const call first = served(now, config).front();
            remove(first.id);
            if (now >= first.until) {
                all.push_back(std::to_string(first.id) + " expired");
                continue;
            }
            ++running;
            note(now - first.since, now, config);
            all.push_back(std::to_string(first.id) + " place");
        }
        std::sort(all.begin(), all.end());
        return all;
    }

private:
    static int level(const call& c, rs::time_point now, const rs::bulkhead_config& config) {
        const auto gained = (now - c.since) / (config.max_wait / 2);
        return c.level + static_cast<int>(std::min<std::int64_t>(gained, 2)); // then its wait is over
    }
    bool newest(const rs::bulkhead_config& config) const {
        return config.order == rs::queue_order::lifo || (config.order == rs::queue_order::adaptive && stands);
    }
    /// Those that wait, in the order in which they would be served now.
    std::vector<call> served(rs::time_point now, const rs::bulkhead_config& config) const {
        auto all = waiting;
        if (newest(config)) std::reverse(all.begin(), all.end());
        for (std::size_t i = 0; i < all.size(); ++i) all[i].place = static_cast<int>(i);
        std::sort(all.begin(), all.end(), [&](const call& a, const call& b) {
            const int mine = level(a, now, config), theirs = level(b, now, config);
            return mine != theirs ? mine > theirs : a.place < b.place;
        });
        return all;
    }
    void note(rs::duration wait, rs::time_point now, const rs::bulkhead_config& config) {
        if (config.order != rs::queue_order::adaptive) return;
        smallest = std::min(smallest, wait);
        if (now < interval_ends) return;
        stands = smallest > config.codel_target;
        smallest = rs::duration::max();
        interval_ends = now + config.codel_interval;
    }

    rs::duration mean{-1};
    rs::duration smallest = rs::duration::max();
    rs::time_point interval_ends = rs::time_point::min();
    bool stands = false;
};

/// Lets both do `steps` things by chance; the first difference, or an empty text. Moments differ, so that no two calls are
/// equally old.
inline std::string bulkhead_differs(std::uint32_t seed, int steps) {
    using namespace std::chrono_literals;
    std::mt19937 random(seed);
    const auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
    rs::bulkhead_config config{.max_concurrent = 1 + below(4),
                               .max_queue = below(8),
                               .max_wait = rs::duration{static_cast<std::int64_t>(1 + below(40)) * 2'000'000},
                               .order = static_cast<rs::queue_order>(below(3))};
    rs::detail::bulkhead_room room;
    bulkhead_oracle oracle;
    struct known {
        explicit known(int n) : id(n) {}
        int id;
        rs::detail::bulkhead_entry entry;
    };
    std::list<known> calls; // that wait or have a place
    rs::time_point now{1000s};
    int ids = 0;
    const auto differs = [&](const std::string& what, const std::string& ours, const std::string& theirs) {
        return "seed " + std::to_string(seed) + ", " + what + ": " + ours + " but by the oracle " + theirs;
    };
    const auto text = [](const std::vector<std::string>& all) {
        std::string joined;
        for (const auto& each : all) joined += each + ", ";
        return joined;
    };
    using answer = rs::detail::bulkhead_entry::answer;

    for (int step = 0; step < steps; ++step) {
        now += rs::duration{1 + below(3) * below(3'000'000)};
        const unsigned choice = below(100);
        if (choice < 55) {
            calls.emplace_back(++ids);
            auto& e = calls.back().entry;
            const int level = static_cast<int>(below(5));
            e.level = static_cast<rs::priority>(level);
            const auto deadline =
                below(3) == 0 ? now + rs::duration{below(60'000'000)} : rs::time_point::max();
            std::optional<int> gone_by_oracle;
            const auto how = room.enter(e, now, deadline, config);
            const std::string theirs =
                oracle.enter({ids, level, now, {}}, now, deadline, config, gone_by_oracle);
            constexpr const char* words[] = {"place", "waits", "full", "too late"};
            const std::string ours = words[static_cast<std::size_t>(how)];
            if (ours != theirs) return differs("a call comes", ours, theirs);
            if (how == rs::detail::bulkhead_room::entered::full ||
                how == rs::detail::bulkhead_room::entered::too_late)
                calls.pop_back();
            std::optional<int> gone_by_us;
            for (auto at = calls.begin(); at != calls.end(); ++at) {
                if (at->entry.told != answer::evicted) continue;
                gone_by_us = at->id;
                // It may give up before it is woken.
                if (!room.owes_answer()) return differs("evicted", "not to be woken", "to be woken");
                if (below(2) == 0) room.leave(at->entry);
                else if (room.next(now, config) != &at->entry) return differs("evicted", "not next", "next");
                calls.erase(at);
                break;
            }
            if (gone_by_us != gone_by_oracle)
                return differs("evicted", std::to_string(gone_by_us.value_or(0)),
                               std::to_string(gone_by_oracle.value_or(0)));
        } else if (choice < 97 && !calls.empty()) {
            auto at = std::next(calls.begin(),
                                static_cast<std::ptrdiff_t>(below(static_cast<unsigned>(calls.size()))));
            if (at->entry.told == answer::place) {
                room.give(at->entry, now);
                oracle.give(now - at->entry.since);
            } else if (choice < 65 || now >= at->entry.until) { // gives up
                room.leave(at->entry);
                oracle.remove(at->id);
            } else {
                continue;
            }
            calls.erase(at);
        } else if (choice >= 98) {
            config.max_concurrent = below(6);
            config.max_queue = below(9);
        }
        std::vector<std::string> ours;
        while (auto* const e = room.next(now, config)) {
            for (auto at = calls.begin(); at != calls.end(); ++at) {
                if (&at->entry != e) continue;
                ours.push_back(std::to_string(at->id) + (e->told == answer::place     ? " place"
                                                         : e->told == answer::refused ? " refused"
                                                                                      : " expired"));
                if (e->told == answer::place) e->since = now;
                else calls.erase(at);
                break;
            }
        }
        std::sort(ours.begin(), ours.end());
        const auto theirs = oracle.answers(now, config);
        if (ours != theirs) return differs("answers", text(ours), text(theirs));
        if (room.running() != oracle.running || room.queued() != oracle.waiting.size())
            return differs("counts", std::to_string(room.running()) + "/" + std::to_string(room.queued()),
                           std::to_string(oracle.running) + "/" + std::to_string(oracle.waiting.size()));
    }
    for (auto& each : calls) {
        if (each.entry.told == answer::place) room.give(each.entry, now);
        else room.leave(each.entry);
    }
    return room.running() == 0 && room.queued() == 0 ? "" : differs("at rest", "not free", "free");
}

} // namespace support
