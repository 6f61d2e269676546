// SPDX-License-Identifier: Apache-2.0
#include "timeline.hpp"

#include <resilience/format.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace demo {
namespace {

constexpr int row_width = 86;
constexpr int in_flight_width = 10; // one more column for each side

double seconds_of(nanoseconds d) { return std::chrono::duration<double>(d).count(); }

} // namespace

screen::screen() : is_terminal_(::isatty(STDOUT_FILENO) == 1), has_colours_(is_terminal_) {
    // NOLINTBEGIN(concurrency-mt-unsafe): nobody changes the environment
    const char* const kind = std::getenv("TERM");
    if (kind == nullptr || std::string_view(kind) == "dumb") is_terminal_ = has_colours_ = false;
    if (const char* none = std::getenv("NO_COLOR"); none != nullptr && *none != '\0') has_colours_ = false;
    // NOLINTEND(concurrency-mt-unsafe)
}

bool screen::is_open() const noexcept { return std::ferror(stdout) == 0; }

void screen::line(std::string_view text) {
    const std::string whole = fmt::format("{}{}\n", is_terminal_ ? "\r\033[K" : "", text);
    std::fputs(whole.c_str(), stdout);
    std::fflush(stdout);
}

void screen::draft(std::string_view text, int width) {
    winsize size{};
    if (!is_terminal_ || ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col <= width) return;
    const std::string whole = fmt::format("\r\033[K{}", text);
    std::fputs(whole.c_str(), stdout);
    std::fflush(stdout);
}

std::string screen::paint(int colour, std::string text) const {
    return has_colours_ ? fmt::format("\033[{}m{}\033[0m", colour, text) : text;
}

void timeline::header() {
    const auto head = [&](int colour, std::string_view text) {
        out_.line(out_.paint(colour, std::string(text)));
    };
    head(2,
         "  ok: answered in time; rejected: at once, by an open circuit; failed: all others, late ones too");
    const std::string_view in_flight = shows_in_flight_ ? " in flight" : "";
    head(2,
         fmt::format(
             "                   circuits                 with the library, calls a second{:{}}     without",
             "", in_flight.size()));
    head(1,
         fmt::format(
             "  time  servers    jira_api  confluence_api   ok retries rejected failed{0}     ok failed{0}",
             in_flight));
}

std::string timeline::state_cell(resilience::circuit_state state, int width) const {
    using resilience::circuit_state;
    const int colour = state == circuit_state::closed ? 32 : state == circuit_state::open ? 31 : 33;
    return out_.paint(colour, fmt::format("{:{}}", state, width));
}

std::string timeline::text_of(nanoseconds now, const phase& current, const glance& seen) const {
    const auto count = [&](std::uint64_t total, std::uint64_t before, int width, int colour) {
        const std::uint64_t fresh = total - before;
        const std::string cell = fmt::format("{:>{}}", fresh == 0 ? "." : std::to_string(fresh), width);
        return fresh == 0 ? out_.paint(2, cell) : out_.paint(colour, cell);
    };
    const auto& with = seen.with_library;
    const auto& had = last_.with_library;
    std::string text = fmt::format("{:4.0f} s  {:11}", seconds_of(now), current.name);
    text += state_cell(seen.jira, 10) + state_cell(seen.confluence, 15);
    text += count(with.succeeded, had.succeeded, 4, 32) +
            count(seen.policies.retries, last_.policies.retries, 8, 0);
    text += count(with.rejected, had.rejected, 9, 33) + count(with.failed, had.failed, 7, 31);
    if (shows_in_flight_) text += fmt::format("{:>{}}", with.in_flight, in_flight_width);
    text += count(seen.without.succeeded, last_.without.succeeded, 7, 32);
    text += count(seen.without.failed, last_.without.failed, 7, 31);
    if (shows_in_flight_) text += fmt::format("{:>{}}", seen.without.in_flight, in_flight_width);
    return text;
}

void timeline::row(nanoseconds now, const phase& current, const glance& seen) {
    out_.line(text_of(now, current, seen));
    last_ = seen;
}

void timeline::draft(nanoseconds now, const phase& current, const glance& seen) {
    if (!out_.is_terminal()) return;
    out_.draft(text_of(now, current, seen), row_width + (shows_in_flight_ ? 2 * in_flight_width : 0));
}

void timeline::note(nanoseconds now, std::string_view text) {
    out_.line(out_.paint(2, fmt::format("{:6.1f}  -- ", seconds_of(now))) + std::string(text));
}

} // namespace demo
