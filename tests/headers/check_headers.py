#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles every public header on its own, with warnings as errors.

usage: check_headers.py [--compiler g++] [--flags "-I..."] [--mode alone|compiled|no-exceptions|macros]...

alone           each header as the first and only include, twice (it guards itself)
compiled        the same of headers that have bodies, as in a program that links resilience::compiled: without them, and
                without what only they include
no-exceptions   the headers of the core together, with -fno-exceptions
macros          the same after macros.hpp, which defines what careless headers of others define
--flags         what the dependencies of the views need, e.g. the feature macros of cpp-httplib
"""
import argparse
import concurrent.futures
import os
import re
import shlex
import subprocess
import sys

import layers

WARNINGS = "-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror".split()
# mode -> what it tells the compiler
MODES = {"alone": [], "compiled": ["-DRESILIENCE_COMPILED=1"], "no-exceptions": ["-fno-exceptions"], "macros": []}
STANDARD = re.compile(r"^\s*#\s*include\s*<((?!resilience/)[^>]+)>", re.M)


def std_includes(names):
    texts = [(layers.library / name).read_text() for name in names]
    return sorted({include for text in texts for include in STANDARD.findall(text)})


def units(mode):
    """what is checked -> its translation unit"""
    if mode in ("alone", "compiled"):
        names = [n for n in layers.headers() if mode == "alone" or "#if RESILIENCE_BODIES" in (layers.library / n).read_text()]
        return {name: f"#include <resilience/{name}>\n" * 2 for name in names}
    core = layers.core_headers()
    before = ""
    if mode == "macros":
        # The standard library first: it is not us who must survive there.
        # One of another system is not there.
        before = "".join(f"#if __has_include(<{i}>)\n#include <{i}>\n#endif\n" for i in std_includes(core))
        before += f'#include "{layers.here}/macros.hpp"\n'
    return {"the core": before + "".join(f"#include <resilience/{name}>\n" for name in core)}


def compile_unit(command, source):
    done = subprocess.run(command, input=source, capture_output=True, text=True)
    return done.returncode == 0, done.stderr


def report(mode, results):
    """One cause seldom fails in one header only: each first error is printed once, with all it strikes."""
    causes = {}
    for name, (passed, output) in results:
        if not passed:
            error = next((line for line in output.splitlines() if "error:" in line), "failed without a word")
            causes.setdefault(error, ([], output))[0].append(name)
    for names, output in causes.values():
        print(f"headers: {mode}: {', '.join(names)}\n" + "\n".join(output.splitlines()[:12]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--compiler", default=os.environ.get("CXX", "g++"))
    parser.add_argument("--flags", default="")
    parser.add_argument("--mode", action="append", choices=MODES)
    options = parser.parse_args()

    command = [options.compiler, "-std=c++20", *WARNINGS, f"-I{layers.include}", *shlex.split(options.flags)]
    command += ["-fsyntax-only", "-x", "c++", "-"]
    failed = 0
    for mode in options.mode or MODES:
        checked = units(mode)
        extra = MODES[mode]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            results = list(pool.map(lambda source: compile_unit(command[:1] + extra + command[1:], source), checked.values()))
        bad = sum(not passed for passed, _ in results)
        failed += bad
        report(mode, zip(checked, results))
        print(f"headers: {mode}: {len(checked)} units compiled by {options.compiler}, {bad} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
