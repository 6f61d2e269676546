#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every hazard of the families below is the tag of a test, `[H-RT-01]`, or waived in tests/hazards.txt.

usage: hazards.py [--allow-missing]     --allow-missing: print what is missing, but do not fail for it

A hazard is a bug that a library of this kind had; its number is that of the project's catalogue.
A line of tests/hazards.txt is `H-RT-01: why no test of ours can be written for it`.
"""
import pathlib
import re
import sys

tests = pathlib.Path(__file__).resolve().parent.parent

# family: how many hazards it has, numbered from 1
FAMILIES = {"CB": 38, "WIN": 16, "RT": 25, "TO": 12, "FB": 5, "BH": 12, "RL": 16, "EV": 6, "REG": 6, "CPP": 23, "USE": 31}
# Families of the catalogue that are tested where it is easy but not yet wanted in full.
NOT_YET_WANTED = {"HG": 12, "AL": 12, "MON": 12}


def ids(families):
    return {f"H-{family}-{number:02}" for family, count in families.items() for number in range(1, count + 1)}


def tagged():
    """id -> the first place that has it. Comments are no tests, except in the cases of compile_fail/."""
    places = {}
    for path in sorted(tests.rglob("*.cpp")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line.lstrip().startswith("//") and path.parent.name != "compile_fail":
                continue
            for tag in re.findall(r"\[(H-[A-Za-z0-9-]*)\]", line):
                places.setdefault(tag, f"{path.relative_to(tests.parent)}:{number}")
    return places


def waived(problems):
    reasons = {}
    path = tests / "hazards.txt"
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else [], 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, reason = line.partition(":")
        if not colon or not reason.strip():
            problems.append(f"tests/hazards.txt:{number}: a waiver is `H-XX-nn: reason`")
        if name.strip() in reasons:
            problems.append(f"tests/hazards.txt:{number}: {name.strip()} is waived twice")
        reasons[name.strip()] = reason.strip()
    return reasons


def main():
    wanted = ids(FAMILIES)
    known = wanted | ids(NOT_YET_WANTED)
    problems = []
    tags = tagged()
    waivers = waived(problems)
    problems += [f"{tags[tag]}: [{tag}] is not in the catalogue" for tag in sorted(tags.keys() - known)]
    problems += [f"tests/hazards.txt: {name} is not in the catalogue" for name in sorted(waivers.keys() - known)]
    problems += [f"tests/hazards.txt: {name} is waived, but tagged at {tags[name]}" for name in sorted(waivers.keys() & tags.keys())]
    missing = sorted(wanted - tags.keys() - waivers.keys())
    for problem in problems:
        print(f"hazards: {problem}")
    for family in FAMILIES:
        of_family = [name for name in missing if name.startswith(f"H-{family}-")]
        if of_family:
            print(f"hazards: {family}: {len(of_family)} of {FAMILIES[family]} missing: " + " ".join(of_family))
    covered = len(wanted & tags.keys())
    print(f"hazards: {len(wanted)} wanted, {covered} tagged, {len(wanted & waivers.keys())} waived, {len(missing)} missing")
    return 1 if problems or (missing and "--allow-missing" not in sys.argv) else 0


if __name__ == "__main__":
    sys.exit(main())
