#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The public interface, read off the headers, is what docs/api.txt says: so that no change of it goes unseen.

usage: api.py [--write]     --write: write docs/api.txt instead of comparing with it

Listed are the declarations of every header outside detail/, in their order (that of an aggregate's fields is part
of the interface), without what is private, in a namespace `detail`, or below a comment "For drivers." (or
"For policies.", "For drivers and policies.", "For retry.") on a line of its own in a class, and without bodies: what
is in an `#if RESILIENCE_BODIES`, and members that are defined outside of their class. It is a reader of text, not a
compiler: it relies on the format that clang-format gives the headers. api_selftest.py is its test.
"""
import difflib
import pathlib
import re
import sys

import api_selftest

root = pathlib.Path(__file__).resolve().parent.parent.parent
library = root / "include" / "resilience"
page = root / "docs" / "api.txt"

HEAD = """\
The public interface: every declaration that a user may name, header by header. Written by
tests/headers/api.py --write; CI fails when the headers say something else.
"""
NOT_FOR_USERS = "@not_for_users@"
# The whole comment, so that a sentence that begins with the same words does not hide declarations.
MARKER = re.compile(r"// For (drivers|policies|retry)( and (drivers|policies|retry))?\.")
# A literal, or a comment: whatever may hold braces and semicolons that mean nothing.
LITERAL = re.compile(r'R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'', re.S)
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
PAIRS = {"(": ")", "[": "]", "{": "}"}
BODIES = "RESILIENCE_BODIES"
INSTANTIATE = "RESILIENCE_INSTANTIATE("


def without_comments(text):
    """The marker stays; literals are looked at first, since they may look like comments."""

    def kept(match):
        if not COMMENT.match(match[0]):
            return match[0]
        return NOT_FOR_USERS + ";" if MARKER.fullmatch(match[0].rstrip()) else ""

    return re.sub(f"{LITERAL.pattern}|{COMMENT.pattern}", kept, text, flags=re.S)


def without_directives(text):
    """(the text, the names of the macros): of the branches of an #if, the first, but the other one of bodies."""
    lines, macros, branches = [], [], []  # of each #if, the branch that we are in; the first is kept
    for line in re.sub(r"\\\n", " ", text).splitlines():
        directive = re.match(r"\s*#\s*(\w+)\s*(.*)", line)
        if not directive:
            if all(branch == 1 for branch in branches):
                lines.append(line)
            continue
        word, rest = directive.groups()
        if word in ("if", "ifdef", "ifndef"):
            branches.append(0 if rest.strip() == BODIES else 1)
        elif word in ("else", "elif"):
            branches[-1] += 1
        elif word == "endif":
            branches.pop()
        elif word == "define":
            macros.append("#define " + re.match(r"\w+(\([^)]*\))?", rest)[0])
    return "\n".join(lines), sorted(set(macros))


def skip_pair(text, at):
    """Just behind the bracket that closes the one at `at`."""
    closing = [PAIRS[text[at]]]
    at += 1
    while closing:
        if literal := LITERAL.match(text, at):
            at = literal.end()
            continue
        if text[at] in PAIRS:
            closing.append(PAIRS[text[at]])
        elif text[at] == closing[-1]:
            closing.pop()
        at += 1
    return at


def skip_template(text, at):
    """Just behind the parameter list of a `template <`."""
    depth = 0
    while True:
        if text[at] in PAIRS:
            at = skip_pair(text, at)
            continue
        depth += {"<": 1, ">": -1}.get(text[at], 0)
        at += 1
        if depth == 0:
            return at


TYPE = re.compile(r"(?:template <.*> )?(?:requires ?.* )?(class|struct|union|enum)\b")
ACCESS = re.compile(r"(public|protected|private)\s*:(?!:)")


def declarations(text):
    """(head, body or None) of each declaration of a scope, and ("public:", None) where the access changes.

    A `{` after a blank opens a body, one right after a name or after `=` an initialiser; ` : ` after a parameter
    list begins the initialisers of a constructor, which are no part of its head.
    """
    at = 0
    text += ";"
    while at < len(text):
        if text[at].isspace() or text[at] == ";":
            at += 1
            continue
        if access := ACCESS.match(text, at):
            yield access[1] + ":", None
            at = access.end()
            continue
        if text.startswith(INSTANTIATE, at):
            at = skip_pair(text, at + len(INSTANTIATE) - 1)
            continue
        start, initialised, called, constructs = at, False, None, None
        while True:
            if literal := LITERAL.match(text, at):
                at = literal.end()
            elif text.startswith("template <", at):
                at = skip_template(text, at + len("template "))
            elif text[at] in "([":
                called = called or at
                at = skip_pair(text, at)
            elif text[at] == "{":
                own_body = not initialised and text[at - 1].isspace()
                end = skip_pair(text, at)
                if own_body:
                    yield tidy(text[start:constructs or at]), text[at + 1:end - 1]
                    at = end
                    break
                at = end  # of an initialiser
            elif text[at] == ";":
                yield tidy(text[start:at]), None
                break
            else:
                before = text[start:at]
                if text[at] == "=" and not re.search(r"operator[=!<>+\-*/]*$", before):
                    initialised = True
                elif text.startswith(" : ", at) and called and not TYPE.match(tidy(before)):
                    constructs = at
                at += 1


def tidy(head):
    """On one line, without what says nothing to a user."""
    head = re.sub(r"__attribute__\(\(.*?\)\)|\bRESILIENCE_(INLINE|NOINLINE|COLD|VISIBLE|FUNCTION|NO_UNIQUE_ADDRESS)\b|\binline ", " ", head)
    head = re.sub(r"\s+", " ", head).strip()
    head = re.sub(r"(~\w+\(\)(?: noexcept)?) = default$", r"\1", head)  # else where its body is
    return re.sub(r"([(<\[{]) | (?=[)\]}])", r"\1", head)


# `result failure::as(`, `name<a, b<c>>::~name(`, `failure::operator=(`: a name that another one qualifies.
MEMBER = re.compile(r"[^(=]*\w>*::~?(\w+|operator ?[^\w(]+|operator\(\)|operator [\w:<>, ]+[&*]?) ?\(")


def is_hidden(head, depth):
    """What declares nothing new: checks, friends that are classes, members at namespace scope."""
    if re.match(r"static_assert\b|friend (class |struct )?\w+$|using namespace\b", head):
        return True
    if depth > 0:
        return False
    if type_ := TYPE.match(head):
        # A nested class, or a specialisation of a template of another namespace.
        return not head.startswith("template <>") and re.match(r"[^:]*\w>*::\w", head[type_.end():]) is not None
    return MEMBER.match(head) is not None


def interface(text, namespace="", public=True, depth=0):
    """(namespace, depth, line) of what a scope offers: a namespace at depth 0, a class below."""
    for head, body in declarations(text):
        if head in ("public:", "protected:", "private:"):
            public = head == "public:"
        elif head == NOT_FOR_USERS:
            return
        elif opened := re.fullmatch(r"namespace ([\w: ]*)", head):
            inner = f"{namespace}::{opened[1]}".replace("::RESILIENCE_ABI", "").removeprefix("::")
            if "detail" not in inner.split("::") and inner != namespace + "::":
                yield from interface(body, inner)
        elif (public or head.startswith("friend ")) and not is_hidden(head, depth):
            type_ = TYPE.match(head)
            if type_ and body is None and "=" not in head:
                continue  # a forward declaration
            yield namespace, depth, head
            if type_ and type_[1] == "enum":
                yield from ((namespace, depth + 1, tidy(one)) for one in body.split(",") if one.strip())
            elif type_ and body is not None:
                yield from interface(body, namespace, type_[1] != "class", depth + 1)


def listed(text):
    """The lines of a header, without its name."""
    text, macros = without_directives(without_comments(text))
    lines, last = [f"    {macro}" for macro in macros], None
    for namespace, depth, line in interface(text):
        if namespace != last:
            lines.append(f"    namespace {namespace or '(global)'}")
        lines.append("    " * (depth + 2) + line)
        last = namespace
    return lines


def listing():
    out = [HEAD]
    for path in sorted(library.rglob("*.hpp")):
        name = path.relative_to(library).as_posix()
        if name.startswith("detail/"):
            continue
        if lines := listed(path.read_text()):
            out.append("\n".join([f"<resilience/{name}>", *lines]) + "\n")
    return "\n".join(out)


def compared(written, wanted):
    """The lines of a diff; each place in it names its header."""
    lines = list(difflib.unified_diff(written, wanted, "docs/api.txt", "the headers", lineterm="", n=1))
    for number, line in enumerate(lines):
        if place := re.match(r"@@ .*\+(\d+)", line):
            above = [one for one in wanted[:int(place[1]) + 1] if one.startswith("<")]
            lines[number] = f"{line} {above[-1] if above else ''}".rstrip()
    return lines


def main():
    if problems := api_selftest.problems(listed):
        print(*problems, sep="\n")
        return 1
    wanted = listing()
    count = sum(line.startswith("        ") for line in wanted.splitlines())
    if "--write" in sys.argv:
        page.write_text(wanted)
        print(f"api: {count} declarations written to docs/api.txt")
        return 0
    written = page.read_text() if page.exists() else ""
    difference = compared(written.splitlines(), wanted.splitlines())
    print("".join(f"{line}\n" for line in difference), end="")
    if difference:
        print("api: the interface changed; if it should: tests/headers/api.py --write, and a word in CHANGELOG.md")
    print(f"api: {count} declarations, {'not as ' if difference else ''}written in docs/api.txt")
    return 1 if difference else 0


if __name__ == "__main__":
    sys.exit(main())
