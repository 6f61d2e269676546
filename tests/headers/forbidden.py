#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Names that the library's headers must not use, with the few files that may. Comments do not count."""
import pathlib
import re
import sys

include = pathlib.Path(__file__).resolve().parent.parent.parent / "include"

CONFIG, PLATFORM = "config.hpp", "detail/platform.hpp"
PLATFORM_ALONE = f"{PLATFORM} is the one place that names it: a port changes that header and {CONFIG}"
# An adapter may use the system for what its dependency lacks: the first sets sockets up for cpp-httplib.
SOCKETS = "adapters/httplib_socket_limit.hpp"
ALARM = "adapters/asio_tasks.ipp" # has a class of that name

# pattern, the headers that may use it, why nobody else may
RULES = [
    (
        r"\b(steady|system)_clock::now\b|\bclock_gettime\b|\bgettimeofday\b|\bread_(steady|coarse)_clock\b",
        {"call/system_time.hpp", PLATFORM},
        "time is an argument: ask the time_source",
    ),
    (r"\bwait_for\s*\(", {"call/system_time.hpp"}, "wait_for(duration::max()) returns at once: wait until a deadline"),
    (
        r"\bthis_thread::sleep_(for|until)\b|\b(nano|u)sleep\s*\(|\bsleep_once\b",
        {"call/system_time.hpp", PLATFORM},
        "sleep on the time_source",
    ),
    # The timer's thread and the workers of abandoning_timeout are never joined: the process ends with them.
    (r"\bdetach\s*\(\s*\)", {"call/system_time.hpp", "detail/worker_pool.hpp"}, "a thread must not outlive what it references"),
    (r"\bstd::async\b", set(), "its future blocks in the destructor"),
    (r"\balarm\s*\(|\bsetitimer\b|\bpthread_cancel\b", {ALARM}, "an attempt is never cut off by force"),
    (
        r"\bstd::(atomic\w*|(recursive_|shared_|timed_)*mutex|condition_variable\w*|cv_status|j?thread|lock_guard|"
        r"unique_lock|scoped_lock|shared_lock|call_once|once_flag|latch|barrier|\w+_semaphore|promise|packaged_task)\b"
        r"|\b__(atomic|sync)_\w+|\bvolatile\b",
        {"detail/sync.hpp"},
        "detail/sync.hpp is the one place that names them, so that a test build can swap them",
    ),
    (
        r"#include <(atomic|mutex|shared_mutex|condition_variable|semaphore|latch|barrier)>",
        {"detail/sync.hpp"},
        "detail/sync.hpp brings what there is of it",
    ),
    # std::this_thread::get_id, and sleeping where there is no clock_nanosleep.
    (r"#include <thread>", {"detail/sync.hpp", "detail/timer_queue.hpp", PLATFORM}, "detail/sync.hpp brings what there is of it"),
    (
        r"\bstop_callback\b",
        {"abandoning_timeout.hpp", "call/call_context.hpp", "call/system_time.hpp", "call/task_traits.hpp", "testing/virtual_clock.hpp", ALARM},
        "its destructor waits where tests/schedules does not see it: keep them few",
    ),
    (r"\bassert\s*\(", set(), "NDEBUG must not change what a header means"),
    (r"\bNDEBUG\b", set(), "NDEBUG must not change what a header means"),
    # What is not standard C++20, by the form of its names: reserved ones but for the standard's own macros ...
    (
        r"\b__(?!cpp_|has_include\b|has_cpp_attribute\b|VA_ARGS__|VA_OPT__)\w+|\b_[A-Z]\w*",
        {CONFIG, PLATFORM},
        "compilers, C++ libraries and systems are told apart, and their own names used, in these two alone",
    ),
    (r"\[\[\s*(gnu|clang|msvc)\s*::|\[\[no_unique_address|#\s*pragma (?!once)", {CONFIG}, "config.hpp has a macro for it, or gets one"),
    # ... and those of systems.
    (r"#\s*include <(?!(fmt|spdlog)/|httplib\.h)[^>]*\.h>", {PLATFORM, SOCKETS}, PLATFORM_ALONE),
    (r"\bpthread_\w+|\bsig(set_t|fillset|emptyset|addset|delset|timedwait|pending|action|wait)\b|\bSIG[A-Z]{2,}\b", {PLATFORM, SOCKETS}, PLATFORM_ALONE),
    (r"\babi::", {PLATFORM}, PLATFORM_ALONE),
    (r"\bgetpid\b|\bv?fork\s*\(|\bclock_\w+\s*\(|\bCLOCK_[A-Z]+|\btimespec\b", {PLATFORM, SOCKETS}, PLATFORM_ALONE),
    (r"\bstd::(cout|cerr|clog)\b|\bprintf\s*\(", set(), "a library does not print"),
]


def without_comments_and_strings(text):
    def blank(match):
        kept = "" if match[0].startswith("/") else '""'
        return kept + "\n" * match[0].count("\n")

    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.S)


def main():
    library = include / "resilience"
    headers = sorted(library.rglob("*.[hi]pp"))
    found = 0
    for path in headers:
        name = path.relative_to(library).as_posix()
        for number, line in enumerate(without_comments_and_strings(path.read_text()).splitlines(), 1):
            for pattern, allowed, reason in RULES:
                if name not in allowed and (match := re.search(pattern, line)):
                    print(f"include/resilience/{name}:{number}: {match[0].strip()}: {reason}")
                    found += 1
    print(f"forbidden names: {len(headers)} headers, {found} found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
