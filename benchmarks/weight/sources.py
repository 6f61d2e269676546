# SPDX-License-Identifier: Apache-2.0
"""The files that `./run weight` compiles: N distinct lambdas, one call with its policies, a header alone."""
import pathlib
import re
import typing

root = pathlib.Path(__file__).resolve().parents[2]
include = root / "include"

# Each lambda has a type of its own and one of these bodies, with constants of its own. All return int, capture a
# reference and an int, and call the same function that no compiler sees into.
BODIES = (
    "return counter += work(by) + {number};",
    "return work(counter + by * {number});",
    "if (by > {number}) ++counter;\n        return work(by - {number});",
)
RESILIENCE = "#include <resilience/resilience.hpp>\n"
TASKS = '#include "support/lazy.hpp"\n'
THREE = "using guarded = resilience::pipeline<resilience::retry, resilience::circuit_breaker, resilience::timeout>;\n"
TWO = "using guarded = resilience::pipeline<resilience::retry, resilience::circuit_breaker>;\n"
ABANDONING = "using guarded = resilience::abandoning_timeout;\n"
BREAKER = "using guarded = resilience::circuit_breaker;\n"
UNGUARDED = "struct guarded;\n"
THROUGH = "[[gnu::noinline]] int through(const guarded& guard, const std::function<int()>& f) { return guard(f); }\n"



# Takes seconds and hundreds of MB, as a whole file does: what slows that down slows this down as much. The standard
# headers alone fit into a cache that is shared with others.
HEAVY_REFERENCE = """\
#include <functional>
#include <map>
#include <regex>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>
bool matches(const std::string& text, const std::string& pattern) { return std::regex_match(text, std::regex(pattern)); }
bool found(const std::wstring& text) { std::wsmatch m; return std::regex_search(text, m, std::wregex(L"a+")); }
"""


class Form(typing.NamedTuple):
    what: str
    before: str  # the lambdas
    use: str  # calls one of them


# Coroutines begin with "task".
FORMS = {
    "bare": Form("called bare", UNGUARDED, "return f();"),
    "three": Form("retry | circuit_breaker | timeout", RESILIENCE + THREE, "return guard(f);"),
    "two": Form("retry | circuit_breaker", RESILIENCE + TWO, "return guard(f);"),
    "breaker": Form("circuit_breaker", RESILIENCE + BREAKER, "return guard(f);"),
    "abandoning": Form("abandoning_timeout", RESILIENCE + ABANDONING, "return guard(f);"),
    "wrap": Form("wrapped by the three, then called", RESILIENCE + THREE, "return guard.wrap(f)();"),
    "function": Form("the three, all by one std::function<int()>", RESILIENCE + THREE + THROUGH, "return through(guard, f);"),
    "task_bare": Form("coroutines called bare", TASKS + UNGUARDED, "co_return co_await f();"),
    "task": Form("coroutines, the three", RESILIENCE + TASKS + THREE, "co_return co_await guard(f);"),
}


def bare_of(form):
    """The form that calls the same lambdas without the library."""
    return "task_bare" if form.startswith("task") else "bare"


def lambdas(form, count):
    """A file with so many functions, each with a lambda of its own."""
    result, returns = ("int", "return") if not form.startswith("task") else ("support::lazy<int>", "co_return")
    arrow = "" if result == "int" else f" -> {result}"
    text = [FORMS[form].before + "int work(int value);\n"]
    for number in range(1, count + 1):
        body = BODIES[number % len(BODIES)].format(number=number).replace("return", returns)
        text.append(
            f"{result} call_{number}([[maybe_unused]] const guarded& guard, int& counter, int by) {{\n"
            f"    const auto f = [&counter, by](){arrow} {{\n        {body}\n    }};\n    {FORMS[form].use}\n}}\n"
        )
    return "".join(text)


# A file as a user writes it: the policies, and one call through them.
ONE_CALL = (
    RESILIENCE
    + """int work(int value);
int call(int by) {
    static const auto guard = resilience::retry({.max_attempts = 4}) | resilience::circuit_breaker({.name = "service"}) |
                              resilience::timeout(std::chrono::seconds(2));
    return guard([by] { return work(by); });
}
"""
)
ONE_BARE_CALL = """int work(int value);
int call(int by) {
    const auto f = [by] { return work(by); };
    return f();
}
"""

# The clock of this measurement: the standard headers that resilience.hpp brought on 2026-11-30. The list is fixed, so
# that a lighter library does not make the clock run faster.
REFERENCE = (
    "algorithm array atomic bit charconv chrono cmath concepts condition_variable coroutine cstddef cstdint cstdio cstdlib "
    "ctime exception functional future initializer_list limits map memory mutex new optional random ratio stdexcept "
    "stop_token string string_view system_error thread tuple type_traits typeinfo unordered_set utility variant vector"
).split()


def including(headers):
    return "".join(f"#include <{header}>\n" for header in headers)


def included_by(text, is_compiled):
    if is_compiled:
        text = re.sub(r"^#if RESILIENCE_BODIES\n.*?^#endif", "", text, flags=re.M | re.S)
    return re.findall(r"^\s*#\s*include\s*<([^>]+)>", text, re.M)


def outside_headers(header, read=lambda name: (include / name).read_text(), is_compiled=False):
    """Headers of others that `header` includes by itself or by headers of ours, sorted. `is_compiled`: in a program that
    links resilience::compiled."""
    seen, open_, outside = set(), [header], set()
    while open_:
        name = open_.pop()
        if name in seen:
            continue
        seen.add(name)
        for target in included_by(read(name), is_compiled):
            if target.startswith("resilience/"):
                open_.append(target)
            else:
                outside.add(target)
    return sorted(outside)
