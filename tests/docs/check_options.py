#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A policy's struct, the description beside it and its page say the same: for every `<kind>_config` in the headers that has
a fields(), and every `<kind>_stats` that has a statistics().

- fields() lists every member of the struct but the name and the labels, in the struct's order, each by its own name.
- The options table of docs/policies/<kind>.md has a row for every member, in that order, with its default.
- docs/registry.md names the variable of every field that can be written as text.
- statistics() lists every member of its struct but the name, and the page names each of them.
"""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(root / "tests" / "headers"))
import api  # noqa: E402: it lies there

NAME, LABELS = "name", "labels"
NO_TEXT = re.compile(r"^(predicate|std::function<.*>|retry_budget|labels_type)$")  # what no variable can hold
# Statistics of a circuit that are structs or times, and are written by monitoring/policies.hpp.
BY_HAND = {"circuit_breaker": {"opened_at", "last_failure_time", "state_since", "window", "retry_after", "latencies",
                               "last_error", "reason"}}
UNITS = {"nanoseconds": "ns", "microseconds": "us", "milliseconds": "ms", "seconds": "s", "minutes": "min", "hours": "h"}


def headers():
    return [api.without_directives(api.without_comments(path.read_text()))[0]
            for path in sorted(api.library.rglob("*.hpp"))]


def members_of(text, struct):
    """[(type, name, initialiser)] of the data members that an aggregate of that name declares."""
    found = re.search(rf"\bstruct {struct} \{{", text)
    if not found:
        return None
    body = text[found.end():api.skip_pair(text, found.end() - 1) - 1]
    members = []
    for head, inner in api.declarations(body):
        member = re.fullmatch(r"(.+?) (\w+)(?: ?= ?(.*)|\{(.*)\})?", head)
        if inner is None and member and not head.startswith(("static ", "using ", "friend ")):
            plain = re.sub(r"^detail::config_field<(.*)>$", r"\1", member[1])
            members.append((plain, member[2], (member[3] or member[4] or "").strip()))
    return members


def described(text, function, struct):
    """[(name, member)] that a fields() or a statistics() of that struct visits; None if there is no such function."""
    found = re.search(rf"\bvoid {function}\((?:const )?{struct}& (\w+), auto&& visit\) \{{", text)
    if not found:
        return None
    body = text[found.end():api.skip_pair(text, found.end() - 1)]
    return re.findall(rf'\bvisit\("(\w+)", {found[1]}\.(\w+)', body)


def options_of(page):
    """[(name, default)] of the rows of the page's table of options: the first one whose head is `| name | default |`."""
    rows, inside = [], False
    for line in page.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells[:2] == ["name", "default"]:
            inside = True
        elif inside and not cells:
            break
        elif inside and not re.fullmatch(r"-+", cells[0]):
            rows.append((cells[0].strip("`"), cells[1]))
    return rows


def is_default(written, initialiser):
    """Whether a cell can stand for an initialiser. Of an empty one, which is the type's own value, it only says no
    literal: `none`, `off`, what it stands for, ..."""
    words = written.replace("`", "")
    if not initialiser or initialiser == '""':
        return re.fullmatch(r"[\d.]+(ns|us|ms|s|min|h)?|true|false", words) is None and words != ""
    if unit := re.fullmatch(r"std::chrono::(\w+)\{(\d+)\}", initialiser):
        return words == unit[2] + UNITS[unit[1]]
    return words == initialiser or words == initialiser.split("::")[-1]


def check_config(kind, text):
    struct = f"{kind}_config"
    members, fields = members_of(text, struct), described(text, "fields", struct)
    for name, member in fields:
        if name != member:
            yield f"{struct}: fields() shows {member} as {name}"
    wanted = [name for _, name, _ in members if name not in (NAME, LABELS)]
    if [name for name, _ in fields] != wanted:
        yield f"{struct}: fields() lists {[name for name, _ in fields]}, the struct has {wanted}"
    if members[0][1] != NAME:
        yield f"{struct}: the name comes first"

    page = root / "docs" / "policies" / f"{kind}.md"
    if not page.exists():
        yield f"docs/policies/{kind}.md: does not exist"
        return
    options = dict(options_of(page.read_text()))
    if list(options) != [name for _, name, _ in members]:
        yield f"docs/policies/{kind}.md: the options are {list(options)}, of {struct} {[name for _, name, _ in members]}"
    for _, name, initialiser in members:
        if name in options and not is_default(options[name], initialiser):
            yield f"docs/policies/{kind}.md: the default of {name} is {options[name]!r}, in {struct} {initialiser!r}"

    variables = re.findall(r"`([A-Z_]+)`", (root / "docs" / "registry.md").read_text())
    for type_, name, _ in members:
        is_told = any(word == name.upper() or word.startswith(name.upper() + "_") for word in variables)
        if name != NAME and not NO_TEXT.match(type_) and not is_told:
            yield f"docs/registry.md: names no variable for {struct}.{name}"


def check_stats(kind, text):
    struct = f"{kind}_stats"
    members, statistics = members_of(text, struct), described(text, "statistics", struct)
    names = {name for name, _ in statistics}
    for _, member, _ in members:
        if member != NAME and member not in names | BY_HAND.get(kind, set()):
            yield f"{struct}: statistics() does not list {member}"
    page = root / "docs" / "policies" / f"{kind}.md"
    text = page.read_text() if page.exists() else ""
    told = set(re.findall(r"`(\w+)`", text[text.find("## Events and statistics"):]))
    for _, member, _ in members:
        if member not in told | {NAME}:
            yield f"docs/policies/{kind}.md: does not tell the statistic {member}"


def main():
    configs, stats, problems = 0, 0, []
    for text in headers():
        for kind in re.findall(r"\bvoid fields\((\w+)_config& \w+, auto&& visit\)", text):
            configs += 1
            problems.extend(check_config(kind, text))
        for kind in re.findall(r"\bvoid statistics\(const (\w+)_stats& \w+, auto&& visit\)", text):
            stats += 1
            problems.extend(check_stats(kind, text))
    for problem in problems:
        print(f"options: {problem}")
    print(f"options: {configs} cases of configs and {stats} of statistics, {len(problems)} failed")
    return 1 if problems or not configs else 0


if __name__ == "__main__":
    sys.exit(main())
