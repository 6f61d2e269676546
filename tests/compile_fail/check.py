#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that must not compile, and what the compiler must say of them.

usage: check.py [--compiler g++] [--flags "-I..."] [file.cpp]...     without files: all of this folder

The first line of a case is `// expect: <text>`: the compiler must fail with that text in its output. The second is
`// most lines: <n>`: so many lines of output at most, by g++ and clang++ alike. A newcomer reads no more than a screen.
A case that includes HEADER is tried with each public header, as C++17.
Where the case has a branch on CONTROL, the same file with -DCONTROL must compile: it proves that nothing
but the mistake is wrong with it.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shlex
import subprocess
import sys

here = pathlib.Path(__file__).resolve().parent
root = here.parent.parent


def refusal(path, command, expected, most):
    """What is wrong with the way in which the compiler refuses the case, or None."""
    done = subprocess.run([*command, str(path)], capture_output=True, text=True)
    said = done.stderr.splitlines()
    if done.returncode == 0:
        return "compiles, and must not"
    if expected not in done.stderr:
        return f"fails, but does not say: {expected}\n" + "\n".join(said[:20])
    if len(said) > most:
        return f"is refused with {len(said)} lines, {most} are allowed\n" + "\n".join(said[:30])
    return None


def check(path, command):
    text = path.read_text()
    head = re.match(r"// expect: (.+)\n// most lines: (\d+)\n", text)
    if not head:
        return "the first lines are not `// expect: <text>` and `// most lines: <n>`"
    expected, most = head[1].strip(), int(head[2])
    if "#include HEADER" in text:
        for header in sorted((root / "include" / "resilience").glob("*.hpp")):
            as_17 = [*command, "-std=c++17", f"-DHEADER=<resilience/{header.name}>"]
            if wrong := refusal(path, as_17, expected, most):
                return f"with {header.name}: {wrong}"
        return None
    if wrong := refusal(path, command, expected, most):
        return wrong
    if re.search(r"^\s*#\s*(if|elif).*\bCONTROL\b", text, re.M):
        control = subprocess.run([*command, "-DCONTROL", str(path)], capture_output=True, text=True)
        if control.returncode != 0:
            return "does not compile with -DCONTROL either\n" + "\n".join(control.stderr.splitlines()[:20])
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--compiler", default=os.environ.get("CXX", "g++"))
    parser.add_argument("--flags", default="")
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    options = parser.parse_args()

    command = [options.compiler, "-std=c++20", f"-I{root}/include", *shlex.split(options.flags)]
    command += ["-fsyntax-only", "-fdiagnostics-color=never"]
    files = options.files or sorted(here.glob("*.cpp"))
    if not files:
        print("compile_fail: no cases to check yet")
        return 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = list(pool.map(lambda path: check(path, command), files))
    for path, problem in zip(files, problems):
        if problem:
            print(f"compile_fail: {path.name}: {problem}")
    failed = sum(problem is not None for problem in problems)
    print(f"compile_fail: {len(files)} cases by {options.compiler}, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
