#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the headers against the table in layers.txt: includes point down, no circles, sizes.

usage: layers.py [--core]     --core: only list the headers of the core, one a line
"""
import pathlib
import re
import sys

here = pathlib.Path(__file__).resolve().parent
include = here.parent.parent / "include"
library = include / "resilience"

SIZE_LIMIT, SIZE_TARGET = 300, 150
FACE = "resilience.hpp"
# What a service seldom needs, or what comes along where it is needed.
NOT_IN_THE_FACE = ("testing/", "detail/", "mechanism/", "http/", "alerts/", "event_log", "time", "outcome", "error", "env", "alert_sink", "outside_of_calls")
# C headers of systems, which forbidden.py allows to few; C++'s own have no dot and no slash.
SYSTEM = re.compile(r"^([a-z_0-9]+|(pthread|sched|signal|unistd|fcntl|time|cxxabi|errno|process|crt_externs)\.h|sys/[a-z]+\.h)$")


class Row:
    def __init__(self, line):
        fields = line.split()
        self.layer = tuple(int(part) for part in fields[0].split("."))
        self.apart = {"apart": True, "together": False}[fields[1]]
        self.outside = [set(alternative.split(",")) for alternative in fields[2].split("|")]
        self.names = fields[3:]

    def part_of(self, name):
        """The name that the header goes by: those of one name belong together even where the row keeps apart."""
        return next((own for own in self.names if name.removesuffix(".hpp") == own or name.startswith(own.rstrip("/") + "/")), None)

    def refused(self, wanted):
        """The outside headers of one header that the row does not allow it, by the alternative that allows most."""
        return min((sorted(wanted - allowed) for allowed in self.outside), key=len)

    @property
    def core(self):
        return self.outside == [{"std"}]


def read_table():
    lines = (here / "layers.txt").read_text().splitlines()
    return [Row(line) for line in lines if line.strip() and not line.startswith("#")]


def row_of(name, table):
    return next((row for row in table if row.part_of(name)), None)


def headers():
    return sorted(path.relative_to(library).as_posix() for path in library.rglob("*.hpp"))


def core_headers(table=None):
    table = table or read_table()
    return [name for name in headers() if (row := row_of(name, table)) and row.core]


def circle_in(graph):
    """The first circle found, as a list of names, or None."""
    done, path = set(), []

    def visit(name):
        if name in path:
            return path[path.index(name):] + [name]
        if name in done:
            return None
        path.append(name)
        for target in graph.get(name, []):
            if found := visit(target):
                return found
        path.pop()
        done.add(name)
        return None

    return next((found for name in graph if (found := visit(name))), None)


def reachable(graph, start):
    seen, open_ = set(), [start]
    while open_:
        name = open_.pop()
        if name not in seen:
            seen.add(name)
            open_.extend(graph.get(name, []))
    return seen


def problems_of(name, text, table, graph):
    row = row_of(name, table)
    if row is None:
        yield f"{name}: in no row of layers.txt"
        return
    outside = set()
    for opening, target in re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)', text, re.M):
        if opening == '"':
            yield f'{name}: includes "{target}"; own headers are included as <resilience/...>'
        elif target.startswith("resilience/"):
            target = target.removeprefix("resilience/")
            graph[name].append(target)
            below = row_of(target, table)
            if not (library / target).exists():
                yield f"{name}: includes {target}, which does not exist"
            elif below is not None and below.layer > row.layer:
                yield f"{name} (layer {dotted(row)}) includes upwards: {target} (layer {dotted(below)})"
            elif below is not None and below.layer == row.layer and row.apart and row.part_of(name) != below.part_of(target):
                yield f"{name} and {target} are both of layer {dotted(row)}, whose headers keep apart"
        elif not SYSTEM.match(target):
            outside.add(target.split("/")[0])
    for target in row.refused(outside):
        yield f"{name}: includes <{target}>, which layers.txt does not allow it"


def dotted(row):
    return ".".join(map(str, row.layer))


def code_of(text):
    """The lines that are more than includes."""
    return [line for line in text.splitlines() if line.strip() and not re.match(r"\s*(//|#pragma once|#include <)", line)]


def face_problems(text, table, graph):
    if code := code_of(text):
        yield f"{FACE}: holds more than includes: {code[0].strip()}"
    reached = reachable(graph, FACE)
    for name in core_headers(table):
        if name not in reached and not name.startswith(NOT_IN_THE_FACE):
            yield f"{FACE}: does not bring {name}"
    for name in reached:
        if (row := row_of(name, table)) and not row.core:
            yield f"{FACE}: brings {name}, which is not of the core"


def main():
    table = read_table()
    if "--core" in sys.argv:
        print("\n".join(core_headers(table)))
        return 0
    names = headers()
    if not names:
        print("layers: no headers to check yet")
        return 0
    texts = {name: (library / name).read_text() for name in names}
    graph = {name: [] for name in names}
    problems = [problem for name in names for problem in problems_of(name, texts[name], table, graph)]
    if circle := circle_in(graph):
        problems.append("a circle: " + " -> ".join(circle))
    if FACE in names:
        problems.extend(face_problems(texts[FACE], table, graph))

    sizes = {name: len(text.splitlines()) for name, text in texts.items()}
    problems.extend(f"{name}: {size} lines, the limit is {SIZE_LIMIT}" for name, size in sizes.items() if size > SIZE_LIMIT)
    large = sorted(((size, name) for name, size in sizes.items() if SIZE_TARGET < size <= SIZE_LIMIT), reverse=True)
    if large:
        print(f"over the target of {SIZE_TARGET} lines: " + ", ".join(f"{name} {size}" for size, name in large))
    for problem in problems:
        print(f"layers: {problem}")
    print(f"layers: {len(names)} headers, {len(core_headers(table))} of the core, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
