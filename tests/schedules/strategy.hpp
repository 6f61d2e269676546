// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which of the possible continuations of an execution are explored.

#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <vector>

namespace schedules {

/// One way to go on. The first of several is the ordinary one and costs nothing: the running thread runs on,
/// a load gives the latest value.
struct option {
    unsigned thread = 0;
    bool preempts = false; ///< the running thread could have gone on
    bool is_odd = false;   ///< seldom on real machines: a stale value, a spurious wake-up, an early time-out
};

/// What an exhaustive exploration allows in one execution.
struct bounds {
    unsigned preemptions = 2;
    unsigned oddities = 1;
};

class strategy {
public:
    virtual ~strategy() = default;
    /// Precondition: at least two options, the same ones after the same choices.
    virtual std::size_t choose(const std::vector<option>& options) = 0;
    /// After an execution: whether there is another.
    virtual bool next() = 0;
};

/// All executions within the bounds, depth first. Most bugs need one or two preemptions only (Musuvathi
/// and Qadeer, "Iterative context bounding", PLDI 2007), and with a bound their number is polynomial.
class exhaustive : public strategy {
public:
    explicit exhaustive(bounds b) : bounds_(b) {}

    std::size_t choose(const std::vector<option>& options) override {
        bool any = false;
        for (std::size_t i = 1; i < options.size() && !any; ++i) any = is_allowed(options[i], spent_);
        if (!any) return 0;
        if (depth_ == path_.size()) path_.push_back({options, 0, spent_});
        const decision& d = path_[depth_];
        if (d.options.size() != options.size()) {
            strays_ = true;
            return 0;
        }
        ++depth_;
        spent_ = after(d.options[d.taken], spent_);
        return d.taken;
    }
    bool next() override {
        depth_ = 0;
        spent_ = {0, 0};
        for (; !path_.empty(); path_.pop_back()) {
            decision& d = path_.back();
            while (++d.taken < d.options.size()) {
                if (is_allowed(d.options[d.taken], d.spent)) return true;
            }
        }
        return false;
    }
    /// The scenario depends on something else than its choices.
    bool strays() const noexcept { return strays_; }

private:
    struct decision {
        std::vector<option> options;
        std::size_t taken;
        bounds spent; // before it
    };
    static bounds after(const option& o, bounds spent) noexcept {
        return {spent.preemptions + (o.preempts ? 1 : 0), spent.oddities + (o.is_odd ? 1 : 0)};
    }
    bool is_allowed(const option& o, bounds spent) const noexcept {
        const bounds then = after(o, spent);
        return then.preemptions <= bounds_.preemptions && then.oddities <= bounds_.oddities;
    }

    const bounds bounds_;
    bounds spent_{0, 0};
    std::vector<decision> path_; // the choices that had another allowed option
    std::size_t depth_ = 0;
    bool strays_ = false;
};

/// One execution per seed. Even seeds: threads have random priorities, and at a few random steps the first
/// becomes the last (PCT: Burckhardt et al., "A randomized scheduler with probabilistic guarantees of
/// finding bugs", ASPLOS 2010). Odd seeds: a switch now and then, to anybody.
class randomised : public strategy {
public:
    randomised(std::uint64_t first_seed, std::size_t executions, std::size_t usual_length)
        : seed_(first_seed), last_(first_seed + executions), length_(usual_length + 1) {
        begin();
    }

    std::size_t choose(const std::vector<option>& options) override {
        const std::size_t step = step_++;
        std::vector<std::size_t> odd;
        std::vector<std::size_t> usual;
        for (std::size_t i = 0; i < options.size(); ++i) (options[i].is_odd ? odd : usual).push_back(i);
        if (!odd.empty() && draw(24) == 0) return odd[draw(odd.size())];
        if (usual.size() < 2) return 0;
        if (seed_ % 2 == 1) return draw(6) == 0 ? usual[draw(usual.size())] : 0;

        std::size_t first = best(options, usual);
        for (const std::size_t change : changes_) {
            if (change != step) continue;
            priorities_[options[first].thread] = --lowest_;
            first = best(options, usual);
        }
        return first;
    }
    bool next() override {
        if (++seed_ == last_) return false;
        begin();
        return true;
    }
    std::uint64_t seed() const noexcept { return seed_; }

private:
    void begin() {
        engine_.seed(seed_);
        priorities_.clear();
        lowest_ = 0;
        step_ = 0;
        changes_.clear();
        for (std::size_t i = 1 + draw(3); i > 0; --i) changes_.push_back(draw(length_));
    }
    std::size_t draw(std::size_t below) { return static_cast<std::size_t>(engine_() % below); }
    long priority(unsigned thread) {
        const auto [entry, is_new] = priorities_.try_emplace(thread, 0);
        if (is_new) entry->second = static_cast<long>(1 + draw(1'000'000));
        return entry->second;
    }
    std::size_t best(const std::vector<option>& options, const std::vector<std::size_t>& among) {
        std::size_t first = among.front();
        for (const std::size_t i : among) {
            if (priority(options[i].thread) > priority(options[first].thread)) first = i;
        }
        return first;
    }

    std::uint64_t seed_;
    const std::uint64_t last_;
    const std::size_t length_;
    std::mt19937_64 engine_;
    std::map<unsigned, long> priorities_;
    long lowest_ = 0;
    std::size_t step_ = 0;
    std::vector<std::size_t> changes_;
};

/// One execution, as a failed exploration printed it: the choices that were not the ordinary one, `12:1 40:2`.
class replayed : public strategy {
public:
    explicit replayed(const std::string& schedule) {
        std::istringstream in(schedule);
        std::size_t step = 0;
        std::size_t taken = 0;
        for (char colon = 0; in >> step >> colon >> taken;) choices_[step] = taken;
    }
    std::size_t choose(const std::vector<option>& options) override {
        const auto found = choices_.find(step_++);
        return found == choices_.end() || found->second >= options.size() ? 0 : found->second;
    }
    bool next() override { return false; }

private:
    std::map<std::size_t, std::size_t> choices_;
    std::size_t step_ = 0;
};

} // namespace schedules
