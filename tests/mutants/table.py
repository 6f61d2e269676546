# SPDX-License-Identifier: Apache-2.0
"""The table of mutants, and whether it is complete: tests/mutants/*.toml against the tagged tests.

A mutant is a library broken on purpose:

    [[mutant]]
    id = "CB-01"                               # after the hazard; several for one hazard: CB-01a, CB-01b
    hazards = ["H-CB-01"]                      # what the break stands for
    breaks = "an ignored probe keeps its place"
    old = 's.in_flight > 0'                    # tokens that occur once in include/resilience, as few as do
    new = 's.in_flight > 0 && v != verdict::ignored'
    kills = ["a_test.cpp: name of the case"]   # each of them must fail; compile_fail/ and linkage/: the file alone

and where it is needed:

    in = "breaker_machine::settle"             # the function or class that has `old` once, where others have it too
    [[mutant.edit]]                            # one more edit, with its own old, new and perhaps in
    sanitizer = "address"                      # or "thread": what sees the bug
    limit = 5                                  # seconds for a case; a case that hangs has failed (20)
    tries = 5                                  # a race: the case must fail in one of so many runs (1)
    static_asserts = false                     # off, so that the case itself is seen to fail and not only they
    compile_error = "..."                      # the test does not compile, and the compiler says this

`[without_mutant]` at the end of a file: `H-XX-nn = "why no mutant can exist"`.
"""
import collections
import importlib.util
import pathlib
import re
import tomllib

import places
import source

here = pathlib.Path(__file__).resolve().parent
tests = here.parent
root = tests.parent
include = root / "include"

FIELDS = {"id", "hazards", "breaks", "edit", "kills", "sanitizer", "limit", "tries", "static_asserts", "compile_error"}
NEEDED = {"id", "hazards", "breaks", "edit", "kills"}
HAZARD = re.compile(r"\[(H-[A-Z]+-[0-9]+)\]")
STRINGS = r'((?:"(?:\\.|[^"\\])*"\s*)+)'
EDITED = re.compile(r"""^((?:in|old|new) = )('''|'|")(.*?)\2$""", re.M | re.S)
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
            if first := {key: m.pop(key) for key in ("in", "old", "new") if key in m}:
                m["edit"] = [first, *m.get("edit", [])]
            name = f"{path.name}: {m.get('id', '?')}"
            wrong = [f"no field {f}" for f in sorted(NEEDED - m.keys())]
            wrong += [f"unknown field {f}" for f in sorted(m.keys() - FIELDS)]
            for edit in m.get("edit", []):
                wrong += [f"no field {f} in an edit" for f in sorted({"old", "new"} - edit.keys())]
                wrong += [f"unknown field {f} in an edit" for f in sorted(edit.keys() - {"in", "old", "new"})]
            problems += [f"{name}: {w}" for w in wrong]
            if not wrong:
                found.append(m)
        problems += [f"{path.name}: unknown table {t}" for t in content]
    return found, reasons


def mutated(m, problems):
    """header -> its text with the mutant's edits."""
    changes = collections.defaultdict(list)
    for edit in m["edit"]:
        old, new, scope = edit["old"], edit["new"], edit.get("in", "")
        found = places.found(old, scope)
        if len(found) != 1:
            problems.append(f"{m['id']}: does not apply: {places.why_not(old, scope, found)}")
        elif source.tokens(old) == source.tokens(new):
            problems.append(f"{m['id']}: changes nothing")
        else:
            changes[found[0].header].append((*found[0].span(), new))
    texts = {}
    for header, edits in changes.items():
        text, begin_of_last = header.text, len(header.text)
        for begin, end, new in sorted(edits, reverse=True):
            if end > begin_of_last:
                problems.append(f"{m['id']}: two edits change the same tokens")
            text = f"{text[:begin]} {new} {text[end:]}"
            begin_of_last = begin
        texts[header.name] = text
    return texts


def rename(old, new):
    """Renames in the edits of all tables, token by token, and says how often. `old` may be several tokens: a::b."""
    wanted, count = source.tokens(old), 0

    def renamed(match):
        nonlocal count
        before, quote, text = match.groups()
        spans = source.spans(text)
        for i in reversed(range(len(spans) - len(wanted) + 1)):
            some = spans[i : i + len(wanted)]
            if [text[begin:end] for begin, end in some] == wanted:
                text = text[: some[0][0]] + new + text[some[-1][1] :]
                count += 1
        return before + quote + text + quote

    for path in sorted(here.glob("*.toml")):
        path.write_text(EDITED.sub(renamed, path.read_text()))
    return count


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
