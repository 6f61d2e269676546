# SPDX-License-Identifier: Apache-2.0
"""Compiles a text and says what that took: seconds of user time, bytes of code, bytes of the object."""
import dataclasses
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from sources import HEAVY_REFERENCE, REFERENCE, include, including, root

# The bounds were set on a machine that needs so long for the standard headers of REFERENCE (g++ -fsyntax-only).
REFERENCE_SECONDS = 0.8
# The same machine needs so long for HEAVY_REFERENCE (g++ -O2): 6.2 times, as measured where nothing else ran.
HEAVY_REFERENCE_SECONDS = 5.0


@dataclasses.dataclass
class Cost:
    seconds: float
    megabytes: int  # of memory
    code: int = 0
    size: int = 0

    def __str__(self):
        return f"{self.seconds:.2f} s, {self.megabytes} MB, {self.code} bytes"


def compiled(compiler, flags, text):
    """The kernel adds up the time of the compiler and of its children, and neither waiting nor the clock is in it."""
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
        cost = Cost(usage.ru_utime, usage.ru_maxrss // 1024)
        if made.exists():
            cost.code = code_of(subprocess.run(["size", made], capture_output=True, text=True, check=True).stdout)
            cost.size = made.stat().st_size
        return cost


def code_of(sizes):
    """The column `text` of what `size` prints of one object."""
    names, figures = (line.split() for line in sizes.splitlines()[:2])
    return int(figures[names.index("text")])


def reference_seconds():
    return compiled("g++", ["-fsyntax-only"], including(REFERENCE)).seconds


def heavy_reference_seconds():
    return compiled("g++", ["-O2"], HEAVY_REFERENCE).seconds


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


def heavy_scale(references):
    """The same by HEAVY_REFERENCE. The least, as of what it is compared with: other processes only add to both."""
    return min(references) / HEAVY_REFERENCE_SECONDS
