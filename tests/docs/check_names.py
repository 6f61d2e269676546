#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The names and files that docs/architecture.md mentions are there.

usage: check_names.py
"""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parents[2]
PAGE = root / "docs" / "architecture.md"
# What is written there and is no name of the headers: of the standard, the system, the build or the tests.
OF_OTHERS = ("std::", "RESILIENCE_", "tests/", "docs/", "src/", "cmake/", ".ci/", "./run", "include/")


def names_in(text):
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return sorted(set(re.findall(r"`([^`\n]+)`", text)))


def is_there(name, everything, headers):
    if name.startswith(OF_OTHERS) or name.endswith(".py") or re.search(r"[ |<>{}=]", name):
        return True
    if name.endswith((".hpp", "/")):
        return any(f"/{header}".endswith(f"/{name}") or f"/{name}" in f"/{header}" for header in headers)
    if "/" in name:
        return any(header.removesuffix(".hpp").endswith(name) or header.startswith(name) for header in headers)
    word = re.sub(r"\(.*", "", name)
    return all(re.search(rf"\b{re.escape(part)}\b", everything) for part in re.split(r"::|\.", word) if part)


def main():
    library = root / "include" / "resilience"
    headers = [str(path.relative_to(library)) for path in sorted(library.rglob("*.hpp"))]
    code = [*library.rglob("*.hpp"), *(root / "tests").rglob("*.[hc]pp"), *(root / "benchmarks").rglob("*.cpp")]
    everything = "\n".join(path.read_text() for path in code)
    if is_there("no_such_name_anywhere", everything, headers) or not is_there("call_walk", everything, headers):
        sys.exit("check_names: does not find what is there, or finds what is not")
    names = names_in(PAGE.read_text())
    missing = [name for name in names if not is_there(name, everything, headers)]
    for name in missing:
        print(f"{PAGE.relative_to(root)}: `{name}` is not in the headers")
    print(f"names: {len(names)} in {PAGE.name}, {len(missing)} missing")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
