// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "contest.hpp"
#include "outage.hpp"
#include "scenario.hpp"

#include <resilience/mechanism/circuit_state.hpp>

#include <string>
#include <string_view>

namespace demo {

/// Where people read: colours and a row that moves on a terminal, plain lines elsewhere.
class screen {
public:
    screen();

    bool is_terminal() const noexcept { return is_terminal_; }
    /// False once nobody reads any more (a closed pipe).
    bool is_open() const noexcept;
    void line(std::string_view text);
    /// A row that the next line or draft replaces; only on a terminal that its width fits in (a wrapped one stays).
    void draft(std::string_view text, int width);
    /// `text` in a colour of the terminal (31 red, 32 green, 33 yellow, 1 bold, 2 dim), if it has any.
    std::string paint(int colour, std::string text) const;

private:
    bool is_terminal_;
    bool has_colours_;
};

/// The table that grows by a row a second.
class timeline {
public:
    timeline(screen& out, const scenario& numbers) : out_(out), shows_in_flight_(numbers.shows_in_flight) {}

    void header();
    /// A row for what happened since the last one, up to `now` (since the start).
    void row(nanoseconds now, const phase& current, const glance& seen);
    /// The same for the second that is not over yet; only on a terminal.
    void draft(nanoseconds now, const phase& current, const glance& seen);
    /// Something worth a line between the rows.
    void note(nanoseconds now, std::string_view text);

private:
    std::string text_of(nanoseconds now, const phase& current, const glance& seen) const;
    std::string state_cell(resilience::circuit_state state, int width) const;

    screen& out_;
    bool shows_in_flight_;
    glance last_{};
};

} // namespace demo
