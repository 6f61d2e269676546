#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Breaks the library on purpose, one mutant at a time, and sees the tagged tests fail.

usage: run.py [--jobs n] [id]...   these mutants (CB-01a), or those of these hazards (H-CB-01, CB); without: all
       run.py --check              only whether the tables are complete and every mutant still applies
       run.py --rename old new     writes new for old in all edits, then the same

Every test that a mutant must kill is first run on the library as it is, and must pass there. Then for each
mutant: `killed`, `SURVIVED` (and which tests passed), `does not apply`, `does not compile`. The tables are
tests/mutants/*.toml; table.py says what their fields mean. Objects go to build/mutants, by ccache if it is there.
"""
import argparse
import collections
import concurrent.futures
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import selftest  # noqa: E402
import table  # noqa: E402

build = table.root / "build" / "mutants"
COMPILER = os.environ.get("CXX", "g++")
LAUNCHER = ["ccache"] if shutil.which("ccache") else []
SANITIZERS = {"": [], "thread": ["-fsanitize=thread"], "address": ["-fsanitize=address"]}
NO_STATIC_ASSERTS = "-Dstatic_assert(...)=static_assert(true)"
ENVIRONMENT = os.environ | {
    "CCACHE_SLOPPINESS": "include_file_mtime,include_file_ctime,time_macros",
    "CCACHE_BASEDIR": str(table.root),
    "CCACHE_NOHASHDIR": "1",
    "ASAN_OPTIONS": "detect_leaks=0",
    "TSAN_OPTIONS": "halt_on_error=1",
}
# linkage/: what tests/linkage/CMakeLists.txt does. {flags} come first, {out} is a folder.
LIBRARY = "{flags} -fPIC -shared -fvisibility=hidden -fvisibility-inlines-hidden -DLIBRARY={name} library.cpp -o {out}/lib{name}.so"
ONE, TWO = LIBRARY.replace("{name}", "one"), LIBRARY.replace("{name}", "two")
PROGRAMS = {
    "one_registry": [ONE, TWO, "{flags} one_registry.cpp -L{out} -lone -ltwo -Wl,-rpath,{out} -o {out}/program"],
    "plugin": [ONE, "{flags} -DPLUGIN=\\\"{out}/libone.so\\\" plugin.cpp -ldl -o {out}/program"],
    "two_units": [
        "{flags} -DUNIT=debug_unit -D_GLIBCXX_ASSERTIONS -UNDEBUG -c unit.cpp -o {out}/debug.o",
        "{flags} -DUNIT=release_unit -DNDEBUG -O2 -c unit.cpp -o {out}/release.o",
        "{flags} -DUNIT=checked_unit -D_GLIBCXX_DEBUG -c unit.cpp -o {out}/checked.o",
        "{flags} -fno-exceptions -c no_exceptions.cpp -o {out}/no_exceptions.o",
        "{flags} two_units.cpp {out}/debug.o {out}/release.o {out}/checked.o {out}/no_exceptions.o -o {out}/program",
    ],
}


class does_not_compile(Exception):
    pass


def compiled(command, folder=table.tests):
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=ENVIRONMENT)
    if done.returncode != 0:
        raise does_not_compile(done.stderr)


def optional_libraries(which):
    return shlex.split(subprocess.run(["pkg-config", which, "cpp-httplib", "fmt", "spdlog"], capture_output=True, text=True).stdout)


def flags_of(file, sanitizer, static_asserts=True):
    flags = ["-std=c++20", "-g0", "-w", "-pthread", "-fdiagnostics-color=never", *SANITIZERS[sanitizer]]
    flags.append("-O1" if file.startswith(("stress/", "schedules/")) else "-O0")
    if file.startswith("schedules/"):  # as in tests/CMakeLists.txt
        flags.append('-DRESILIENCE_SYNC_HEADER="schedules/sync.hpp"')
    if file.startswith(("views/", "simulated/")):
        flags += optional_libraries("--cflags")
    return flags if static_asserts else [*flags, NO_STATIC_ASSERTS]


def main_of(sanitizer):
    """The object of support/main.cpp, made before any test."""
    return build / f"main{sanitizer and '_' + sanitizer}.o"


def make_main(sanitizer):
    make = [COMPILER, *flags_of("", sanitizer), "-c", "support/main.cpp", "-o", str(main_of(sanitizer))]
    compiled([*LAUNCHER, *make])


def program_of(file, folder, includes, sanitizer, static_asserts=True):
    """The test file as a program in `folder`."""
    name = file.replace("/", "_").removesuffix(".cpp") + (sanitizer and "_" + sanitizer)
    flags, object_, program = flags_of(file, sanitizer, static_asserts), folder / f"{name}.o", folder / name
    compiled([*LAUNCHER, COMPILER, *flags, *includes, "-I.", "-c", file, "-o", str(object_)])
    libraries = optional_libraries("--libs") if file.startswith(("views/", "simulated/")) else []
    compiled([COMPILER, *flags, str(object_), str(main_of(sanitizer)), *libraries, "-o", str(program)])
    object_.unlink()
    return program


def ends_well(command, limit):
    """Whether the command ends within so many seconds, with status 0. What it has forked ends with it."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=ENVIRONMENT, start_new_session=True)  # fmt: skip
    try:
        return process.wait(limit) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


def pattern_of(case):
    """What Catch2 takes for this case alone."""
    return "".join("\\" + c if c in '\\,["*' else c for c in case)


def has_case(program, case):
    command = [program, pattern_of(case), "--list-test-names-only"]
    listed = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    return listed.stdout.split("\n")[0].strip() == case


def files_of(m):
    """file -> its cases that the mutant must kill."""
    files = collections.defaultdict(list)
    for place in m["kills"]:
        file, _, case = place.partition(": ")
        files[file].append(case)
    return files


def passing(file, cases, folder, includes, options):
    """Those of the cases that pass. Raises does_not_compile."""
    if file.startswith("compile_fail/"):
        checker = table.load(table.tests / "compile_fail" / "check.py")
        command = [COMPILER, "-std=c++20", *includes, "-fsyntax-only", "-fdiagnostics-color=never"]
        return cases if checker.check(table.tests / file, command) is None else []
    if file.startswith("linkage/"):
        flags = shlex.join(["-std=c++20", "-g0", "-w", "-pthread", *includes])
        for line in PROGRAMS[pathlib.Path(file).stem]:
            compiled([COMPILER, *shlex.split(line.format(flags=flags, out=folder))], table.tests / "linkage")
        return cases if ends_well([folder / "program"], options.get("limit", 20)) else []
    sanitizer = options.get("sanitizer", "")
    program = program_of(file, folder, includes, sanitizer, options.get("static_asserts", True))
    passed = []
    for case in cases:
        if options.get("is_unbroken") and not has_case(program, case):
            continue
        runs = range(options.get("tries", 1))
        if all(ends_well([program, pattern_of(case)], options.get("limit", 20)) for _ in runs):
            passed.append(case)
    program.unlink()
    return passed


def baseline(group):
    """Problems with the tests of one file on the library as it is."""
    (file, sanitizer), cases = group
    folder = build / "unbroken"
    if file.startswith("linkage/"):
        folder /= pathlib.Path(file).stem
    folder.mkdir(parents=True, exist_ok=True)
    options = {"sanitizer": sanitizer, "limit": 120, "is_unbroken": True}
    try:
        passed = passing(file, cases, folder, [f"-I{table.include}"], options)
    except does_not_compile as e:
        return [f"{file}: does not compile on the unbroken library\n{e}"]
    return [f"{file}: does not pass on the unbroken library: {case}" for case in cases if case not in passed]


def run(m):
    """What became of the mutant, and more about it."""
    problems = []
    texts = table.mutated(m, problems)
    if problems:
        return "does not apply", problems
    folder = build / m["id"]
    shutil.rmtree(folder, ignore_errors=True)
    for header, text in texts.items():
        path = folder / "include" / header
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    includes = [f"-I{folder / 'include'}", f"-I{table.include}"]  # the broken header is found first
    survivors = []
    for file, cases in files_of(m).items():
        try:
            passed = passing(file, cases, folder, includes, m)
            survivors += [f"passes: {file}: {case}" for case in passed]
            if "compile_error" in m:
                survivors.append(f"compiles: {file}")
        except does_not_compile as e:
            if "compile_error" not in m or m["compile_error"] not in str(e):
                return "does not compile", str(e).splitlines()[:20]
    shutil.rmtree(folder)
    return ("SURVIVED", survivors) if survivors else ("killed", [])


def chosen(all_mutants, words):
    def is_meant(m, word):
        return m["id"] == word or any(h == word or f"-{word}-" in h or h == f"H-{word}" for h in m["hazards"])

    unknown = [w for w in words if not any(is_meant(m, w) for m in all_mutants)]
    if unknown:
        sys.exit("mutants: no mutant is or stands for " + ", ".join(unknown))
    return [m for m in all_mutants if not words or any(is_meant(m, w) for w in words)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--rename", nargs=2, metavar=("old", "new"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("ids", nargs="*")
    options = parser.parse_args()

    if options.rename:
        print(f"mutants: renamed {table.rename(*options.rename)} times")
    problems, counted = table.check()
    if options.check:
        problems += selftest.problems()
    for problem in problems:
        print(f"mutants: {problem}")
    if options.check or options.rename:
        print(f"mutants: {counted}, {len(problems)} findings")
        return 1 if problems else 0

    began = time.monotonic()
    meant = chosen(table.mutants([])[0], options.ids)
    groups = collections.defaultdict(list)
    for m in meant:
        for file, cases in files_of(m).items():
            group = groups[file, m.get("sanitizer", "")]
            group += [case for case in cases if case not in group]
    build.mkdir(parents=True, exist_ok=True)
    verdicts = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(make_main, {sanitizer for _, sanitizer in groups}))
        wrong = [problem for found in pool.map(baseline, groups.items()) for problem in found]
        print(f"mutants: {sum(map(len, groups.values()))} tests on the unbroken library, {len(wrong)} failed", flush=True)
        for problem in wrong:
            print(f"mutants: {problem}", flush=True)
        for m, (verdict, more) in zip(meant, pool.map(run, meant)):
            verdicts[verdict] += 1
            print(f"{m['id']:<10} {verdict:<16} {m['breaks']}", *more, sep="\n    ", flush=True)
    others = "".join(f", {count} {verdict}" for verdict, count in verdicts.items() if verdict != "killed")
    took = time.monotonic() - began
    print(f"mutants: {len(meant)} mutants, {verdicts['killed']} killed{others} in {took:.0f} s")
    return 0 if verdicts["killed"] == len(meant) and not wrong and not problems else 1


if __name__ == "__main__":
    sys.exit(main())
