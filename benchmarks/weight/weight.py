#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the library costs a user's compiler: user time and bytes of code.

usage: weight.py [--quick] [--list] [--runs 3] [--counts 10,200] [row or pattern]...

Without rows: those that have a bound. 'include/*' is every header that needs nothing but the standard library, fmt and
spdlog. --quick, for CI: few rows, 10 and 60 lambdas. With three counts or more, each is shown. A row is measured --runs
times, fewer if it takes long, but up to twice --runs if a time is beyond its gate. Medians are shown, of seconds the least:
other processes only add to them. Exits with 1 if a figure is beyond its gate.
docs/performance.md, section Weight, says what the rows are.
"""
import argparse
import dataclasses
import fnmatch
import functools
import re
import resource
import shutil
import statistics
import subprocess
import sys
import typing

from measure import REFERENCE_SECONDS, compiled, heavy_reference_seconds, heavy_scale, reference_seconds, scale, slope
from sources import FORMS, ONE_BARE_CALL, ONE_CALL, bare_of, include, including, lambdas, outside_headers

MS, CODE = "ms per lambda", "bytes of code per lambda"
ADDED, ADDED_CODE, OBJECT = "s over a bare call", "bytes of code over a bare call", "bytes of the object, -g"
MEMORY = "MB of the compiler's memory"
BESIDE = "s over a bare call with others' headers"
FRONT_END, WHOLE = "s over others' headers, -fsyntax-only", "s over others' headers, -O2"
INCLUDED = "bytes of code where it is only included"

# row: {figure: (bound, gate)}. The bound is what the library promises; times are those of a machine that takes
# REFERENCE_SECONDS for the standard headers of REFERENCE. The gate is how many times the bound CI lets pass: a change
# that makes the library lighter lowers it.
LIMITS = {
    "three": {MS: (30, 1), CODE: (700, 1)},
    "three-O0": {MS: (20, 1)},
    "three-clang": {MS: (30, 1)},
    "two": {MS: (45, 1), CODE: (1200, 1)},
    "wrap": {MS: (30, 1), CODE: (700, 1)},
    "abandoning": {MS: (45, 1), CODE: (700, 1)},
    "task": {MS: (75, 1)},
    "one": {ADDED: (2, 4.8), ADDED_CODE: (80_000, 2.9), OBJECT: (800_000, 14), MEMORY: (400, 1.4)},
    "one-compiled": {BESIDE: (1, 1.5), ADDED_CODE: (15_000, 1), OBJECT: (800_000, 2.3)},
    "include/resilience.hpp": {FRONT_END: (0.8, 2.6), WHOLE: (0.8, 3), INCLUDED: (1_000, 1)},
    "include/retry.hpp": {FRONT_END: (0.5, 1.8), WHOLE: (0.5, 2)},
    "include/circuit_breaker.hpp": {FRONT_END: (0.5, 2.2), WHOLE: (0.5, 2.5)},
    "include/timeout.hpp": {FRONT_END: (0.5, 1.6), WHOLE: (0.5, 1.8)},
    "compiled/resilience.hpp": {FRONT_END: (0.8, 1.2), WHOLE: (0.8, 1.2)},
    "compiled/retry.hpp": {FRONT_END: (0.5, 1.5)},
    "compiled/circuit_breaker.hpp": {FRONT_END: (0.5, 1.5)},
    "compiled/timeout.hpp": {FRONT_END: (0.5, 1.5)},
}
SHOWN_TOO = ("function",)
QUICK = ("three", "three-O0", "three-clang", "one", "one-compiled", "include/resilience.hpp", "compiled/resilience.hpp")

# Seconds of compiling after which a row is not measured once more.
PATIENCE, QUICK_PATIENCE = 60, 6

COMPILED = "-DRESILIENCE_COMPILED=1"  # as its target resilience::compiled says
SYSTEM = ("crt_externs.h", "cxxabi.h", "fcntl.h", "process.h", "pthread.h", "sched.h", "signal.h", "sys/random.h", "sys/socket.h", "time.h", "unistd.h")


@dataclasses.dataclass
class Row:
    name: str
    what: str
    compiler: str
    measure: typing.Callable  # (counts) -> {figure: (value, what it is part of)}
    libraries: tuple = ()  # headers of other libraries; without them there is nothing to measure
    reference: typing.Callable = lambda: reference_seconds()  # looked up when it is called, for the tests
    scale: typing.Callable = scale

    def missing(self):
        if not shutil.which(self.compiler):
            return self.compiler
        return next((header for header in self.libraries if not is_there(header)), None)


def lambdas_row(form, compiler, flag):
    def measure(counts):
        own, bare = ({count: compiled(compiler, [flag], lambdas(kind, count)) for count in counts} for kind in (form, bare_of(form)))
        if len(counts) > 2:
            for count in counts:
                print(f"    {count:3} lambdas: {own[count]}; called bare: {bare[count]}")

        def over_bare(part):
            return slope({count: getattr(own[count], part) - getattr(bare[count], part) for count in counts})

        most = own[max(counts)]
        return {
            MS: (1000 * over_bare("seconds"), f"{most.seconds:.1f} s, {most.megabytes} MB"),
            CODE: (over_bare("code"), f"{most.code}"),
        }

    name = form + {"g++": "", "clang++-19": "-clang"}[compiler] + {"-O2": "", "-O0": "-O0"}[flag]
    return Row(name, f"{FORMS[form].what}, {compiler} {flag}", compiler, measure)


def one_call_row():
    def measure(_counts):
        wrapped, bare = (compiled("g++", ["-O2"], text) for text in (ONE_CALL, ONE_BARE_CALL))
        debug = one_call_with_debug_information()
        return {
            ADDED: (wrapped.seconds - bare.seconds, f"{wrapped.seconds:.1f} s, {wrapped.megabytes} MB"),
            ADDED_CODE: (wrapped.code - bare.code, f"{wrapped.code}"),
            OBJECT: (debug.size, f"{debug.seconds:.1f} s, {debug.megabytes} MB"),
            MEMORY: (wrapped.megabytes, ""),
        }

    what = "a file that makes retry | circuit_breaker | timeout and calls once, g++ -O2"
    return Row("one", what, "g++", measure, reference=heavy_reference_seconds, scale=heavy_scale)


@functools.cache
def one_call_with_debug_information():
    """Once, however often the row is measured: its size is the same each time."""
    return compiled("g++", ["-O2", "-g"], ONE_CALL)


def one_compiled_row():
    def measure(_counts):
        bare = others_headers("resilience/resilience.hpp", True) + ONE_BARE_CALL
        wrapped, less = compiled("g++", ["-O2", COMPILED], ONE_CALL), compiled("g++", ["-O2"], bare)
        debug = compiled("g++", ["-O2", "-g", COMPILED], ONE_CALL)
        return {
            BESIDE: (wrapped.seconds - less.seconds, f"{wrapped.seconds:.1f} s, {wrapped.megabytes} MB"),
            ADDED_CODE: (wrapped.code - less.code, f"{wrapped.code}"),
            OBJECT: (debug.size, f"{debug.seconds:.1f} s, {debug.megabytes} MB"),
        }

    return Row("one-compiled", "the same in a program that links resilience::compiled", "g++", measure)


def others_headers(header, is_compiled):
    """A file that includes what the header does; some are another system's."""
    return including(filter(is_there, outside_headers(header, is_compiled=is_compiled)))


def header_row(header, is_compiled=False):
    flags = [COMPILED] if is_compiled else []

    def measure(_counts):
        others, figures = others_headers(header, is_compiled), {}
        for figure, flag in ((FRONT_END, "-fsyntax-only"), (WHOLE, "-O2")):
            own, less = (compiled("g++", [flag, *flags], text) for text in (including([header]), others))
            figures[figure] = (own.seconds - less.seconds, f"{own.seconds:.2f} s")
        figures[INCLUDED] = (own.code - less.code, f"{own.code}")
        return figures

    folder, name = "compiled" if is_compiled else "include", header.removeprefix("resilience/")
    return Row(f"{folder}/{name}", f"#include <{header}>{', compiled' if is_compiled else ''}", "g++", measure, libraries_of(header))


def libraries_of(header):
    """The standard library's headers have no dot; a few more are the system's."""
    return tuple(name for name in outside_headers(header) if re.search(r"[./]", name) and name not in SYSTEM)


@functools.cache
def is_there(header):
    command = ["g++", "-E", "-xc++", "-", "-o/dev/null"]
    return subprocess.run(command, input=including([header]), text=True, capture_output=True, check=False).returncode == 0


def all_rows():
    ways = [(compiler, flag) for compiler in ("g++", "clang++-19") for flag in ("-O2", "-O0")]
    rows = [lambdas_row(form, *way) for form in FORMS if form != bare_of(form) for way in ways] + [one_call_row(), one_compiled_row()]
    for path in sorted((include / "resilience").glob("*.hpp")):
        if all(name.startswith(("fmt/", "spdlog/")) for name in libraries_of(f"resilience/{path.name}")):
            rows += [header_row(f"resilience/{path.name}", is_compiled) for is_compiled in (False, True)]
    return rows


def chosen(rows, patterns):
    names = [row.name for row in rows]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            sys.exit(f"weight: no row is called {pattern}; --list shows them")
    return [row for pattern in patterns for row in rows if fnmatch.fnmatch(row.name, pattern)]


def is_time(figure):
    return figure.split()[0] in ("s", "ms")


def verdict_of(now, bound, gate):
    """(met, or missed by how much; may CI pass)"""
    times = now / bound
    if times <= 1:
        return "met", True
    return f"missed, {times:.1f} x" + ("" if times <= gate else f", and the gate is {gate} x"), times <= gate


def number(value, figure):
    return f"{value:.0f}" if not is_time(figure) else f"{value:.1f}" if figure == MS else f"{value:.2f}"


def figure_of(figure, rounds):
    """Of all rounds. What is noisy in a slope may be its lower end."""
    values = [figures[figure][0] for figures in rounds]
    return min(values) if is_time(figure) and figure != MS else statistics.median(values)


def judged(row, rounds, references):
    """{figure: (now, bound or None, verdict, may CI pass)}"""
    all_of_them = {}
    for figure in rounds[0]:
        now, bound, verdict, passes = figure_of(figure, rounds), None, "", True
        if figure in LIMITS.get(row.name, {}):
            bound, gate = LIMITS[row.name][figure]
            bound *= row.scale(references) if is_time(figure) else 1
            verdict, passes = verdict_of(now, bound, gate)
        all_of_them[figure] = now, bound, verdict, passes
    return all_of_them


def weigh(row, counts, runs, patience):
    """Prints the row; returns how many of its figures are beyond their gates."""
    print(f"{row.name}: {row.what}")
    if missing := row.missing():
        print(f"    skipped: there is no {missing}")
        return 0
    references, rounds = [row.reference()], []
    started = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime

    def is_settled():
        """A time beyond its gate may be another process's doing; bytes are the same each time."""
        over = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - started >= patience or len(rounds) >= runs
        return over and all(passes for figure, (*_, passes) in judged(row, rounds, references).items() if is_time(figure))

    while not rounds or (len(rounds) < 2 * runs and not is_settled()):
        rounds.append(row.measure(counts))
        references.append(row.reference())
    figures = judged(row, rounds, references)
    for figure, (now, bound, verdict, _) in figures.items():
        shown, part_of = "" if bound is None else number(bound, figure), rounds[0][figure][1]
        print(f"    {figure:38} {number(now, figure):>9} {shown:>11} {part_of:>15}  {verdict}".rstrip(), flush=True)
    return sum(not passes for *_, passes in figures.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--counts", type=lambda text: sorted(map(int, text.split(","))))
    parser.add_argument("rows", nargs="*")
    options = parser.parse_args()
    rows = all_rows()
    if options.list:
        for row in rows:
            print(f"{row.name:32} {row.what}")
        return 0
    rows = chosen(rows, options.rows or (QUICK if options.quick else [*LIMITS, *SHOWN_TOO]))
    counts = options.counts or ([10, 60] if options.quick else [10, 200])
    if sum(count >= 10 for count in counts) < 2:
        parser.error("--counts: a slope needs two of ten or more")
    print(f"""\
User time of the compiler; bytes of code as `size` counts text.
Per lambda: what each adds from {min(count for count in counts if count >= 10)} to {max(counts)} lambdas, less what it adds called bare.
A header: compiled alone, less a file of the headers of others (the standard library's) that it and ours below it include.
Bounds of times are for a machine that takes {REFERENCE_SECONDS} s for the standard headers of sources.py; around each row it is
measured what this one takes, {reference_seconds():.2f} s just now, and the bounds grow by that; of `one`, around a file as heavy.

    {'':38} {'now':>9} {'bound, here':>11} {'in all':>15}""")
    beyond = sum(weigh(row, counts, options.runs, QUICK_PATIENCE if options.quick else PATIENCE) for row in rows)
    print(f"weight: {len(rows)} rows, {beyond} figures beyond their gates")
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
