#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles the C++ in README.md and docs/**/*.md, so that no page shows code that does not exist.

usage: check_snippets.py [--compiler g++] [file.md]...

What is done with a ```cpp block depends on what stands above it or on its first line:
  <!-- snippet: skip (reason) -->    the line above: the block is not compiled
  // file: examples/x.cpp            the first line: the rest equals that file, which the build compiles
  <!-- prelude: tests/docs/x.hpp --> anywhere before: the blocks that follow in this page include that file
                                     after the default one, tests/docs/prelude.hpp
A block with `int main` is a program of its own. Any other is taken as the body of a function, or, where that
does not compile, as what stands at namespace scope; after the default prelude, which is compiled once for all,
come its #include lines in both cases.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field

root = pathlib.Path(__file__).resolve().parent.parent.parent
SPDX = "// SPDX-License-Identifier: Apache-2.0\n"


@dataclass
class Block:
    page: str
    line: int
    text: str
    skip: str | None = None
    preludes: list = field(default_factory=list)


def blocks_of(path):
    preludes, above, current = [], "", None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if current is not None:
            if line.strip() == "```":
                yield current
                current = None
            else:
                current.text += line + "\n"
        elif re.match(r"\s*```(cpp|c\+\+)\s*$", line):
            skip = re.match(r"<!-- snippet: skip(?: \((.+)\))? -->", above)
            reason = (skip[1] or "") if skip else None
            current = Block(path.relative_to(root).as_posix(), number, "", reason, list(preludes))
        elif prelude := re.match(r"<!-- prelude: (\S+) -->", line.strip()):
            preludes.append(prelude[1])
        if line.strip():
            above = line.strip()


def is_program(block):
    return re.search(r"\bint main\(", block.text) is not None


def translation_units(block):
    """What to try in turn; one of them must compile."""
    if is_program(block):
        return [block.text]
    lines = block.text.splitlines()
    includes = [line for line in lines if re.match(r"\s*#\s*include\b", line)]
    body = "\n".join("" if line in includes else line for line in lines)
    head = "".join(f"{line}\n" for line in includes) + "".join(f'#include "{root / name}"\n' for name in block.preludes)
    place = f'#line {block.line + 1} "{block.page}"\n'
    return [f"{head}void snippet() {{\n{place}{body}\n}}\n", f"{head}{place}{body}\n"]


def precompiled(command, folder):
    """The flags that give a file the default prelude."""
    prelude = folder / "prelude.hpp"
    prelude.write_text(f'#include "{root}/tests/docs/prelude.hpp"\n')
    subprocess.run([*command, "-x", "c++-header", prelude, "-o", f"{prelude}.gch"], check=True)
    return ["-include", str(prelude)]


def check(block, command, with_prelude):
    if block.skip is not None:
        return None if block.skip else "skip wants a reason in brackets"
    if same := re.match(r"// file: (\S+)\n", block.text):
        path = root / same[1]
        if not path.exists():
            return f"{same[1]} does not exist"
        if block.text[same.end():].strip() != path.read_text().removeprefix(SPDX).strip():
            return f"differs from {same[1]}"
        return None
    errors = []
    command = [*command, *([] if is_program(block) else with_prelude), "-fsyntax-only", "-x", "c++", "-"]
    for unit in translation_units(block):
        done = subprocess.run(command, input=unit, capture_output=True, text=True)
        if done.returncode == 0:
            return None
        errors.append("\n".join(done.stderr.splitlines()[:8]))
    return "does not compile\n" + errors[0]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--compiler", default=os.environ.get("CXX", "g++"))
    parser.add_argument("files", nargs="*", type=lambda name: pathlib.Path(name).resolve())
    options = parser.parse_args()

    pages = options.files or [*root.glob("README.md"), *sorted(root.glob("docs/**/*.md"))]
    blocks = [block for page in pages for block in blocks_of(page)]
    if not blocks:
        print("snippets: no C++ in README.md and docs/ to check yet")
        return 0
    generated = root / "build" / "generated"  # headers that CMake makes
    subprocess.run(["cmake", "-D", f"RESILIENCE_GENERATED={generated}", "-P", root / "cmake/dashboard.cmake"], check=True)
    found = subprocess.run(["pkg-config", "--cflags", "cpp-httplib"], capture_output=True, text=True)
    command = [options.compiler, "-std=c++20", f"-I{root}/include", f"-I{generated}", f"-I{root}", *shlex.split(found.stdout)]
    command.append("-fdiagnostics-color=never")
    with_prelude = precompiled(command, generated)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = list(pool.map(lambda block: check(block, command, with_prelude), blocks))
    for block, problem in zip(blocks, problems):
        if problem:
            print(f"{block.page}:{block.line}: {problem}")
    failed = sum(problem is not None for problem in problems)
    skipped = sum(block.skip is not None for block in blocks)
    print(f"snippets: {len(blocks)} in {len(pages)} pages, {skipped} skipped, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
