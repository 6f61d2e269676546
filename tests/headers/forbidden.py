#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Names that the library's headers must not use, with the few files that may. Comments do not count.

Comments of the headers must not begin a line with a word that hides the subject of its sentence (SUBJECTLESS).

Threads and coroutines likewise are names that a unit test must not use, unless tests/CMakeLists.txt lists it among the tests
that the sanitizers compile.
"""
import pathlib
import re
import sys

tests = pathlib.Path(__file__).resolve().parent.parent
include = tests.parent / "include"

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
        {"abandoning_timeout.hpp", "call/armed_stop.hpp", "call/silence.hpp", "call/system_time.hpp", "call/task_traits.hpp", "testing/virtual_clock.hpp", ALARM},
        "its destructor waits where tests/schedules does not see it: keep them few",
    ),
    (
        r"\bstatic\b[^;()]*=\s*(\*?\s*new\b|\[)",
        set(),
        "a child that is forked meanwhile waits at its guard for ever: detail::immortal makes it without one",
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

# A comment names its subject: "What is asked to end has lost" is a riddle, "The attempt has lost" is not.
SUBJECTLESS = re.compile(r"\s*//[/!<]*\s*(What|Who|Whoever|Whether|Those|Such|The same|One)\b")

# the list in tests/CMakeLists.txt, a pattern for its tests and the headers that they share
LISTED_TESTS = [
    (
        "tests_with_threads",
        r"#include <(thread|future)>|\bstd::(jthread|thread|async)\b|\b(pthread_create|thread_pool|httplib::Server)\b"
        # The library's own threads.
        r"|::(abandoning_timeout|alert_sink|webhook_sender|timer_queue|worker_pool|system_time_source)\b",
    ),
    ("tests_with_coroutines", r"\bco_(await|return|yield)\b"),
]


def without_comments_and_strings(text):
    def blank(match):
        kept = "" if match[0].startswith("/") else '""'
        return kept + "\n" * match[0].count("\n")

    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.S)


def with_own_headers(path):
    """The test, and the headers of tests/ that it includes."""
    files, new = set(), {path}
    while new:
        files |= new
        named = {(file, name) for file in new for name in re.findall(r'^#include "([^"]*)"', file.read_text(), re.M)}
        new = {place for file, name in named for place in (tests / name, file.parent / name) if place.exists()} - files
    return files


def unlisted_tests():
    """Problems with the lists of tests that have threads or coroutines, and the number of unit tests."""
    others = {"stress", "schedules", "clients"}  # no unit tests
    unit_tests = [p for p in sorted(tests.rglob("*_test.cpp")) if not others.intersection(p.relative_to(tests).parts)]
    cmake = (tests / "CMakeLists.txt").read_text()
    problems = []
    for name, pattern in LISTED_TESTS:
        listed = set(re.search(rf"^set\({name}\s([^)]*)\)", cmake, re.M)[1].split())
        for path in unit_tests:
            test = path.relative_to(tests).as_posix()
            texts = (without_comments_and_strings(file.read_text()) for file in sorted(with_own_headers(path)))
            match = next((found for text in texts if (found := re.search(pattern, text))), None)
            if match and test not in listed:
                problems.append(f"tests/{test} has {match[0]}: add it to {name} in tests/CMakeLists.txt")
            if test in listed and not match:
                problems.append(f"tests/{test} is in {name} of tests/CMakeLists.txt, but has none")
            listed.discard(test)
        problems += [f"tests/{test} is in {name} of tests/CMakeLists.txt, but does not exist" for test in sorted(listed)]
    return problems, len(unit_tests)


def main():
    library = include / "resilience"
    headers = sorted(library.rglob("*.[hi]pp"))
    found = 0
    for path in headers:
        name = path.relative_to(library).as_posix()
        text = path.read_text()
        for number, line in enumerate(text.splitlines(), 1):
            if match := SUBJECTLESS.match(line):
                print(f"include/resilience/{name}:{number}: {match[1]}: a comment begins with its subject")
                found += 1
        for number, line in enumerate(without_comments_and_strings(text).splitlines(), 1):
            for pattern, allowed, reason in RULES:
                if name not in allowed and (match := re.search(pattern, line)):
                    print(f"include/resilience/{name}:{number}: {match[0].strip()}: {reason}")
                    found += 1
    problems, count = unlisted_tests()
    print(*problems, sep="\n", end="\n" if problems else "")
    found += len(problems)
    print(f"forbidden names and comments: {len(headers)} headers, {count} files of unit tests, {found} found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
