# SPDX-License-Identifier: Apache-2.0
"""Where the tokens of an edit are in include/resilience, and which place is most like them where they are not."""
import collections
import difflib
import functools
import heapq
import math
import pathlib

import source

include = pathlib.Path(__file__).resolve().parents[2] / "include"
BETWEEN = "\0"
FEW = 5  # places in a message


class place:
    def __init__(self, header, begin, end):
        self.header, self.begin, self.end = header, begin, end  # of tokens

    def span(self):
        """Begin and end in the header's text."""
        return self.header.spans[self.begin][0], self.header.spans[self.end - 1][1]

    def is_in(self, name):
        """True in a class or function of this name: `settle` or `breaker_machine::settle`."""
        return f"::{name}::" in f"::{self.header.scope_of(self.begin, self.end)}::"

    def lines(self):
        """The text around it, as one line."""
        begin, end = self.span()
        before, after = self.header.text[:begin].rpartition("\n")[2], self.header.text[end:].partition("\n")[0]
        return " ".join(f"{before}{self.header.text[begin:end]}{after}".split())

    def __str__(self):
        scope = "::".join(self.header.scope_of(self.begin, self.end).split("::")[-2:])
        return f"{self.header.name}:{self.header.line(self.begin)}, in {scope or 'no scope'}"


@functools.cache
def headers():
    files = sorted(path for path in (include / "resilience").rglob("*") if path.is_file())
    return [source.header(path.relative_to(include).as_posix(), path.read_text()) for path in files]


@functools.cache
def joined(header):
    return BETWEEN + BETWEEN.join(header.tokens) + BETWEEN


def scope_name(text):
    return "".join(source.tokens(text))


def found(text, name=""):
    """Each place of the text's tokens; with a name, each in a class or function of that name."""
    tokens = source.tokens(text)
    wanted = BETWEEN + BETWEEN.join(tokens) + BETWEEN
    places = []
    for header in headers():
        at = joined(header).find(wanted)
        while at >= 0:
            begin = joined(header).count(BETWEEN, 0, at)
            places.append(place(header, begin, begin + len(tokens)))
            at = joined(header).find(wanted, at + 1)
    return [p for p in places if not name or p.is_in(scope_name(name))]


@functools.cache
def weights():
    """How much a token says about its place: brackets are everywhere."""
    counts = collections.Counter(token for header in headers() for token in header.tokens)
    return {token: math.log(counts.total() / count) for token, count in counts.items()}


def areas(name):
    """Header, begin and end of the scopes of that name; without one, of everything."""
    called = [(h, s.begin, s.end) for h in headers() for s in h.scopes if f"::{s.name}".endswith(f"::{scope_name(name)}")]
    return called or [(h, 0, len(h.tokens)) for h in headers()]


def scored(area, wanted, size):
    """The weight of the wanted tokens in each window of so many tokens, whatever their order."""
    header, first, last = area
    inside, score = collections.Counter(), 0.0
    for i in range(first, last):
        token = header.tokens[i]
        if token in wanted:
            inside[token] += 1
            score += weights()[token] if inside[token] <= wanted[token] else 0
        if i - first >= size - 1:
            left = header.tokens[i - size + 1]
            yield score, place(header, i - size + 1, i + 1)
            if left in wanted:
                score -= weights()[left] if inside[left] <= wanted[left] else 0
                inside[left] -= 1


def nearest(text, name):
    """The place that reads most like this text, if there is one with enough tokens."""
    tokens = source.tokens(text)
    wanted, words = collections.Counter(tokens), " ".join(tokens)
    windows = (window for area in areas(name) for window in scored(area, wanted, len(tokens)))
    best = [place for _, place in heapq.nlargest(100, windows, key=lambda window: window[0])]
    alike = difflib.SequenceMatcher(autojunk=False)
    alike.set_seq2(words)

    def likeness(place):
        alike.set_seq1(" ".join(place.header.tokens[place.begin : place.end]))
        return alike.ratio()

    return max(best, key=likeness, default=None)


def why_not(text, name, places):
    """Why an edit does not apply: its tokens are in several places, or in none."""
    where, text = f" in `{name}`" if name else "", " ".join(text.split())
    listed = lambda some: "".join(f"\n    {place}" for place in some[:FEW]) + ("\n    ..." if some[FEW:] else "")
    if places:
        return f"`{text}` occurs {len(places)} times{where}:{listed(places)}"
    if 0 < len(elsewhere := found(text)) <= FEW:  # Tokens that are everywhere say nothing.
        return f"`{text}` does not occur{where}, but:{listed(elsewhere)}"
    near = nearest(text, name)
    return f"`{text}` does not occur{where}" + (f"; nearest is {near}:\n    {near.lines()}" if near else "")
