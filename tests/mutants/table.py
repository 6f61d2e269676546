# SPDX-License-Identifier: Apache-2.0
"""The table of mutants, and whether it is complete: tests/mutants/*.toml against the tagged tests.

A mutant is a library broken on purpose:

    [[mutant]]
    id = "CB-01"                               # after the hazard; several for one hazard: CB-01a, CB-01b
    hazards = ["H-CB-01"]                      # what the break stands for
    breaks = "an ignored probe keeps its place"
    header = "mechanism/breaker_machine.hpp"   # under include/resilience
    old = '''...'''                            # occurs once in the header
    new = '''...'''
    kills = ["a_test.cpp: name of the case"]   # each of them must fail; compile_fail/ and linkage/: the file alone

and where it is needed:

    [[mutant.edit]]                            # instead of header, old and new: several of these, each with them
    sanitizer = "address"                      # or "thread": what sees the bug
    limit = 5                                  # seconds for a case; a case that hangs has failed (20)
    tries = 5                                  # a race: the case must fail in one of so many runs (1)
    static_asserts = false                     # off, so that the case itself is seen to fail and not only they
    compile_error = "..."                      # the test does not compile, and the compiler says this

`[without_mutant]` at the end of a file: `H-XX-nn = "why no mutant can exist"`.
"""
import importlib.util
import pathlib
import re
import tomllib

here = pathlib.Path(__file__).resolve().parent
tests = here.parent
root = tests.parent
include = root / "include"

FIELDS = {"id", "hazards", "breaks", "header", "old", "new", "edit", "kills", "sanitizer", "limit", "tries"}
FIELDS |= {"static_asserts", "compile_error"}
NEEDED = {"id", "hazards", "breaks", "edit", "kills"}
HAZARD = re.compile(r"\[(H-[A-Z]+-[0-9]+)\]")
STRINGS = r'((?:"(?:\\.|[^"\\])*"\s*)+)'
CASE = re.compile(r"^TEST_CASE\(\s*" + STRINGS + r",\s*" + STRINGS + r"\)", re.M)


def load(path):
    """A module by its path: the other checks of this folder are scripts, not packages."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text_of(literals):
    return "".join(re.findall(r'"((?:\\.|[^"\\])*)"', literals)).replace('\\"', '"')


def tagged_tests():
    """place -> its hazards. A place is `file: case`, or the file alone where the file is one test."""
    places = {}
    for path in sorted(tests.rglob("*.cpp")):
        name, text = path.relative_to(tests).as_posix(), path.read_text()
        if path.parent.name in ("compile_fail", "linkage"):
            if found := set(HAZARD.findall(text)):
                places[name] = found
            continue
        for case, tags in CASE.findall(text):
            if found := set(HAZARD.findall(text_of(tags))):
                places[f"{name}: {text_of(case)}"] = found
    return places


def mutants(problems):
    """All mutants, each with its edits as a list; and the reasons for hazards without one."""
    found, reasons = [], {}
    for path in sorted(here.glob("*.toml")):
        try:
            content = tomllib.loads(path.read_text())
        except tomllib.TOMLDecodeError as e:
            problems.append(f"{path.name}: {e}")
            continue
        reasons |= content.pop("without_mutant", {})
        for m in content.pop("mutant", []):
            if "header" in m:
                m["edit"] = [{key: m.pop(key) for key in ("header", "old", "new")}, *m.get("edit", [])]
            name = f"{path.name}: {m.get('id', '?')}"
            problems += [f"{name}: no field {f}" for f in sorted(NEEDED - m.keys())]
            problems += [f"{name}: unknown field {f}" for f in sorted(m.keys() - FIELDS)]
            if NEEDED <= m.keys():
                found.append(m)
        problems += [f"{path.name}: unknown table {t}" for t in content]
    return found, reasons


def mutated(m, problems):
    """header -> its text with the mutant's edits."""
    texts = {}
    for edit in m["edit"]:
        header = edit["header"]
        path = include / "resilience" / header
        if not path.exists():
            problems.append(f"{m['id']}: does not apply: there is no {header}")
            continue
        text = texts.get(header) or path.read_text()
        if (times := text.count(edit["old"])) != 1 or edit["old"] == edit["new"]:
            problems.append(f"{m['id']}: does not apply: the old text is {times} times in {header}")
            continue
        texts[header] = text.replace(edit["old"], edit["new"])
    return texts


def check():
    """What is wrong with the table, and a line that says what was counted."""
    problems = []
    all_mutants, reasons = mutants(problems)
    places = tagged_tests()
    hazards = load(tests / "headers" / "hazards.py")
    wanted = hazards.ids(hazards.FAMILIES)
    known = wanted | hazards.ids(hazards.NOT_YET_WANTED)

    seen, covered = set(), set()
    for m in all_mutants:
        if m["id"] in seen:
            problems.append(f"{m['id']}: twice")
        seen.add(m["id"])
        problems += [f"{m['id']}: {h} is not in the catalogue" for h in m["hazards"] if h not in known]
        mutated(m, problems)
        if not m["kills"]:
            problems.append(f"{m['id']}: kills nothing")
        for place in m["kills"]:
            if place not in places:
                problems.append(f"{m['id']}: no tagged test is `{place}`")
            elif not (common := places[place] & set(m["hazards"])):
                problems.append(f"{m['id']}: none of its hazards is a tag of `{place}`")
            else:
                covered |= {(place, h) for h in common}

    tagged = {h for tags in places.values() for h in tags if h in wanted}
    with_mutant = {h for _, h in covered}
    problems += [f"{h}: excused, but not tagged" for h in sorted(reasons.keys() - tagged)]
    problems += [f"{h}: excused, but it has a mutant" for h in sorted(reasons.keys() & with_mutant)]
    problems += [f"{h}: no mutant, and no reason" for h in sorted(tagged - with_mutant - reasons.keys())]
    for place, tags in places.items():
        problems += [
            f"{h}: no mutant kills `{place}`"
            for h in sorted(tags & (tagged & with_mutant))
            if (place, h) not in covered
        ]
    counted = f"{len(all_mutants)} mutants for {len(tagged & with_mutant)} of {len(tagged)} tagged hazards"
    return problems, f"{counted} and {len({p for p, _ in covered})} tests, {len(reasons)} excused"
