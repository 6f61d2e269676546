# SPDX-License-Identifier: Apache-2.0
"""Compiles a text and says what that took: seconds of user time, bytes of code, bytes of the object."""
import dataclasses
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from sources import REFERENCE, include, including, root

# The bounds were set on a machine that needs so long for the standard headers of REFERENCE (g++ -fsyntax-only).
REFERENCE_SECONDS = 0.8


@dataclasses.dataclass
class Cost:
    seconds: float
    code: int
    object_size: int


def compiled(compiler, flags, text):
    """User time is that of the compiler and its children, which the kernel adds up: a busy machine changes it little."""
    with tempfile.TemporaryDirectory() as folder:
        source, made = pathlib.Path(folder, "weighed.cpp"), pathlib.Path(folder, "weighed.o")
        source.write_text(text)
        command = [compiler, "-std=c++20", f"-I{include}", f"-I{root}/tests", *flags, "-c", str(source), "-o", str(made)]
        with open(f"{folder}/errors", "w+") as errors:
            child = subprocess.Popen(command, stderr=errors, env={**os.environ, "CCACHE_DISABLE": "1", "LC_ALL": "C"})
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode != 0:
                errors.seek(0)
                sys.exit(f"weight: {' '.join(command)} failed\n{errors.read()[:4000]}")
        if "-fsyntax-only" in flags:
            return Cost(usage.ru_utime, 0, 0)
        sizes = subprocess.run(["size", made], capture_output=True, text=True, check=True).stdout
        return Cost(usage.ru_utime, code_of(sizes), made.stat().st_size)


def code_of(sizes):
    """The column `text` of what `size` prints of one object."""
    names, figures = (line.split() for line in sizes.splitlines()[:2])
    return int(figures[names.index("text")])


def reference_seconds():
    return compiled("g++", ["-fsyntax-only"], including(REFERENCE)).seconds


def slope(by_count):
    """What one more lambda adds, from the smallest count of ten or more to the largest: {count: figure}."""
    counts = sorted(count for count in by_count if count >= 10)
    if len(counts) < 2:
        raise ValueError("a slope needs two counts of ten or more")
    first, last = counts[0], counts[-1]
    return (by_count[last] - by_count[first]) / (last - first)


def scale(references):
    """How many times slower than the machine of the bounds this one is."""
    return statistics.median(references) / REFERENCE_SECONDS
