#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the library costs a user's compiler: user time and bytes of code.

usage: weight.py [--quick] [--list] [--runs 3] [--counts 10,200] [row or pattern]...

Without rows: those that have a bound. `'include/*'` is every header that needs nothing but the standard library, fmt and
spdlog. `--quick`, for CI: few rows, 10 and 60 lambdas. A row is measured --runs times, fewer if it takes long; medians
are shown. Exits with 1 if a figure is beyond its gate. docs/performance.md, section Weight, says how to read it.
"""
import argparse
import dataclasses
import fnmatch
import functools
import shutil
import statistics
import subprocess
import sys
import typing

from measure import REFERENCE_SECONDS, compiled, reference_seconds, scale, slope
from sources import ONE_BARE_CALL, ONE_CALL, bare_of, include, including, lambdas, outside_headers

MS, CODE = "ms per lambda", "bytes of code per lambda"
ADDED, ADDED_CODE, OBJECT = "s, over a bare call", "bytes of code, over a bare call", "bytes of the object, -g"
FRONT_END, WHOLE = "s over its std headers, -fsyntax-only", "s over its std headers, -O2"


@dataclasses.dataclass
class Row:
    name: str
    what: str
    measure: typing.Callable  # (counts) -> {figure: (value, all of it)}
    compiler: str = "g++"
    # {figure: (bound, gate)}. The bound is what the library promises, times on the machine of REFERENCE_SECONDS; the
    # gate is how many times the bound CI lets pass, to be lowered by every change that makes the library lighter.
    limits: dict = dataclasses.field(default_factory=dict)
    quick: bool = False


def lambdas_row(name, form, what, compiler="g++", flag="-O2", limits=None, quick=False):
    def measure(counts):
        rows = {}
        for kind in (form, bare_of(form)):
            rows[kind] = {count: compiled(compiler, [flag], lambdas(kind, count)) for count in counts}
        seconds = {kind: slope({count: cost.seconds for count, cost in of.items()}) for kind, of in rows.items()}
        code = {kind: slope({count: cost.code for count, cost in of.items()}) for kind, of in rows.items()}
        bare = bare_of(form)
        if len(counts) > 2:
            for count in counts:
                own, other = rows[form][count], rows[bare][count]
                print(f"    {count:3} lambdas: {own.seconds:6.2f} s {own.code:8} bytes; bare {other.seconds:5.2f} s {other.code:6} bytes")
        most = rows[form][max(counts)]
        return {
            MS: (1000 * (seconds[form] - seconds[bare]), f"{most.seconds:.1f} s"),
            CODE: (code[form] - code[bare], f"{most.code / 1000:.0f} kB"),
        }

    return Row(name, f"{what}, {compiler} {flag}", measure, compiler, limits or {}, quick)


def one_call(_counts):
    wrapped, bare = compiled("g++", ["-O2"], ONE_CALL), compiled("g++", ["-O2"], ONE_BARE_CALL)
    debug = compiled("g++", ["-O2", "-g"], ONE_CALL)
    return {
        ADDED: (wrapped.seconds - bare.seconds, f"{wrapped.seconds:.1f} s"),
        ADDED_CODE: (wrapped.code - bare.code, f"{wrapped.code / 1000:.0f} kB"),
        OBJECT: (debug.object_size, f"{debug.seconds:.1f} s"),
    }


def header_row(header, limits=None, quick=False):
    def measure(_counts):
        standard, figures = including(outside_headers(header)), {}
        for figure, flag in ((FRONT_END, "-fsyntax-only"), (WHOLE, "-O2")):
            total = compiled("g++", [flag], including([header])).seconds
            figures[figure] = (total - compiled("g++", [flag], standard).seconds, f"{total:.2f} s")
        return figures

    return Row(f"include/{header.removeprefix('resilience/')}", f"#include <{header}>", measure, "g++", limits or {}, quick)


# All bounds and gates. None: no bound yet.
ROWS = [
    lambdas_row("three", "three", "retry | circuit_breaker | timeout", limits={MS: (30, 12), CODE: (700, 18)}, quick=True),
    lambdas_row("two", "two", "retry | circuit_breaker", limits={MS: (45, 8), CODE: (1200, 10)}),
    lambdas_row("three-O0", "three", "the three", flag="-O0", limits={MS: (20, 6)}, quick=True),
    lambdas_row("three-clang", "three", "the three", "clang++-19", limits={MS: (30, 12)}, quick=True),
    lambdas_row("task", "task", "a coroutine through the three", limits={MS: (150, 3)}),
    lambdas_row("wrap", "wrap", "wrapped by the three, then called", limits={MS: (30, 12), CODE: (700, 18)}),
    Row("one", "a file that makes the three and calls once, g++ -O2", one_call,
        limits={ADDED: (2, 6), ADDED_CODE: (80_000, 3), OBJECT: (800_000, 14)}, quick=True),
    header_row("resilience/resilience.hpp", {FRONT_END: (0.8, 3), WHOLE: (0.8, 5)}, quick=True),
    header_row("resilience/retry.hpp", {FRONT_END: (0.5, 3), WHOLE: (0.5, 4)}),
    header_row("resilience/circuit_breaker.hpp", {FRONT_END: (0.5, 3), WHOLE: (0.5, 4)}),
    header_row("resilience/timeout.hpp", {FRONT_END: (0.5, 3), WHOLE: (0.5, 4)}),
    lambdas_row("function", "function", "the three, through one function of a std::function<int()>: the floor"),
]
UNBOUND = [
    lambdas_row("breaker", "breaker", "circuit_breaker"),
    lambdas_row("three-clang-O0", "three", "the three", "clang++-19", "-O0"),
    lambdas_row("two-O0", "two", "retry | circuit_breaker", flag="-O0"),
    lambdas_row("two-clang", "two", "retry | circuit_breaker", "clang++-19"),
    lambdas_row("task-O0", "task", "a coroutine through the three", flag="-O0"),
    lambdas_row("task-clang", "task", "a coroutine through the three", "clang++-19"),
    lambdas_row("wrap-O0", "wrap", "wrapped by the three, then called", flag="-O0"),
]


@functools.cache
def compiles(headers):
    return subprocess.run(["g++", "-std=c++20", "-fsyntax-only", "-xc++", "-"], input=including(headers), text=True,
                          capture_output=True, check=False).returncode == 0  # fmt: skip


def all_rows():
    rows = ROWS + UNBOUND
    known = {row.name for row in rows}
    for path in sorted((include / "resilience").glob("*.hpp")):
        header = f"resilience/{path.name}"
        others = [name for name in outside_headers(header) if "/" in name or name.endswith(".hpp")]
        if f"include/{path.name}" not in known and all(name.startswith(("fmt/", "spdlog/", "sys/")) for name in others):
            if compiles(tuple(others)):
                rows.append(header_row(header))
    return rows


def chosen_rows(patterns, quick):
    if not patterns:
        return [row for row in ROWS if row.quick or not quick]
    rows = all_rows()
    for pattern in patterns:
        if not fnmatch.filter([row.name for row in rows], pattern):
            sys.exit(f"weight: no row is called {pattern}; --list shows them")
    return [row for row in rows if any(fnmatch.fnmatch(row.name, pattern) for pattern in patterns)]


def is_time(figure):
    return figure.startswith(("ms ", "s ", "s,"))


def verdict_of(now, bound, gate):
    """(met or missed by how much, whether CI lets it pass)"""
    times = now / bound
    if times <= 1:
        return "met", True
    return f"missed, {times:.1f} x" + ("" if times <= gate else f", and the gate is {gate} x"), times <= gate


def weigh(row, counts, runs, patience):
    """Prints the row's figures; how many are beyond their gates. Another round only if those before took less than `patience`."""
    print(f"{row.name}: {row.what}")
    if not shutil.which(row.compiler):
        print(f"    skipped: there is no {row.compiler}")
        return 0
    references, rounds = [], []
    while len(rounds) < runs:
        started = children_seconds()
        references.append(reference_seconds())
        rounds.append(row.measure(counts))
        if (len(rounds) + 1) * (children_seconds() - started) > patience:
            break
    slower, beyond = scale(references), 0
    for figure in rounds[0]:
        now = statistics.median(round_[figure][0] for round_ in rounds)
        text, passes, shown = "", True, "-"
        if figure in row.limits:
            bound, gate = row.limits[figure]
            bound *= slower if is_time(figure) else 1
            text, passes = verdict_of(now, bound, gate)
            shown = number(bound, figure)
        beyond += not passes
        print(f"    {figure:40} {number(now, figure):>10} {rounds[0][figure][1]:>10} {shown:>10}  {text}".rstrip(), flush=True)
    return beyond


def children_seconds():
    import resource

    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime


def number(value, figure):
    if not is_time(figure):
        return f"{value:.0f}"
    return f"{value:.1f}" if figure.startswith("ms") else f"{value:.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--counts", type=lambda text: sorted(map(int, text.split(","))))
    parser.add_argument("rows", nargs="*")
    options = parser.parse_args()
    if options.list:
        for row in all_rows():
            print(f"{row.name:32} {row.what}")
        return 0
    rows = chosen_rows(options.rows, options.quick)
    counts = options.counts or ([10, 60] if options.quick else [10, 200])
    slower = scale([reference_seconds() for _ in range(3)])
    print(
        "User time of the compiler and bytes of its code (size, column text). Per lambda: from "
        f"{min(count for count in counts if count >= 10)} to {max(counts)} lambdas,\nless the same for lambdas called bare. A header: "
        "compiled alone, less a file of the standard headers that it and ours that\nit includes name. The standard headers of "
        f"measure.py take {slower * REFERENCE_SECONDS:.2f} s here, {REFERENCE_SECONDS} s where the bounds were set: times may be "
        f"{slower:.2f} x as long here.\n\n{'':44} {'now':>10} {'in all':>10} {'bound here':>10}"
    )
    beyond = sum(weigh(row, counts, options.runs, 12 if options.quick else 60) for row in rows)
    print(f"weight: {len(rows)} rows, {beyond} figures beyond their gates")
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
