# SPDX-License-Identifier: Apache-2.0
"""A header as tokens, and the class and function that each token lies in.

White space and comments are no tokens. The scanner of scopes knows only as much C++ as it takes to name what a brace opens.
"""
import dataclasses
import re

TOKEN = re.compile(
    r"""
      (?P<blank> \s+ | \\\n | //[^\n]* | /\*.*?\*/ )
    | (?:u8|[uUL])? R"(?P<mark>[^()\s\\]*)\( .*? \)(?P=mark)"
    | (?:u8|[uUL])? (?: "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' )
    | \.?[0-9] (?: [eEpP][+-] | '\w | [\w.] )*
    | [A-Za-z_]\w*
    | :: | ->\*? | \.\.\. | \.\* | \+\+ | -- | <=> | <<=? | && | \|\| | \#\# | [-+*/%&|^!=<>]=   # no >>: it closes templates
    | .
    """,
    re.X | re.S,
)
WORD = re.compile(r"[A-Za-z_]\w*")
MACRO = re.compile(r"[A-Z_0-9]{2,}")
DIRECTIVE = re.compile(r"#(?:\\\n|[^\n])*")
CLASS_KEYS = ("class", "struct", "union", "enum")
# Words before a parenthesis that holds no parameters; a macro is no function either.
NO_FUNCTIONS = ("alignas", "decltype", "explicit", "requires", "__attribute__")


def spans(text):
    """Begin and end of each token."""
    return [match.span() for match in TOKEN.finditer(text) if match["blank"] is None]


def tokens(text):
    return [text[begin:end] for begin, end in spans(text)]


@dataclasses.dataclass
class scope:
    """A class or function. Its head (`template`, `inline`, its parameters) is in it."""

    name: str  # with those around it, but no namespaces: breaker_machine::settle
    begin: int  # its first token
    end: int  # one after its last token


class header:
    def __init__(self, name, text):
        self.name = name
        self.text = text
        self.spans = spans(text)
        self.tokens = [text[begin:end] for begin, end in self.spans]
        self.scopes = list(self._scopes())

    def line(self, token):
        return self.text[: self.spans[token][0]].count("\n") + 1

    def scope_of(self, begin, end):
        """The name of the innermost scope around these tokens."""
        around = [s for s in self.scopes if s.begin <= begin and end <= s.end]
        return min(around, key=lambda s: s.end - s.begin).name if around else ""

    def _scopes(self):
        levels, before_if = [level(declares=True)], []
        directive_end = 0
        for i, (token, (begin, _)) in enumerate(zip(self.tokens, self.spans)):
            if begin < directive_end:
                continue
            if token == "#":
                directive_end = DIRECTIVE.match(self.text, begin).end()
                word = self.tokens[i + 1]
                if word.startswith("if"):
                    before_if.append(copied(levels))
                elif word.startswith("el"):  # the other branch opens and closes the same braces
                    levels = copied(before_if[-1])
                elif word == "endif":
                    before_if.pop()
                continue
            around = levels[-1]
            if not around.head:
                around.head_begin = i
            if token in ("(", "[", "{"):
                inner = opened(around) if token == "{" else level()
                inner.begin = around.head_begin
                around.head.append(token)
                levels.append(inner)
            elif token in (")", "]", "}"):
                closed = levels.pop()
                if closed.name:
                    yield scope("::".join(l.name for l in [*levels, closed] if l.name), closed.begin, i + 1)
                levels[-1].head = [*levels[-1].head, token] if closed.is_part else []
            elif token == ";":
                around.head = []
            else:
                around.head.append(token)


@dataclasses.dataclass
class level:
    """An open bracket."""

    name: str = ""
    begin: int = 0  # the first token of its head
    declares: bool = False  # a namespace or class: functions are defined in it
    is_part: bool = True  # the statement or declaration around it goes on behind it
    head: list = dataclasses.field(default_factory=list)  # tokens of the statement so far, but not those in brackets
    head_begin: int = 0


def copied(levels):
    return [dataclasses.replace(l, head=list(l.head)) for l in levels]


def opened(around):
    """The level that a brace opens behind the head of the level around it."""
    head = without_template_arguments(around.head)
    if "namespace" in head or (head[:1] == ["extern"] and len(head) == 2):
        return level(declares=True, is_part=False)
    if "=" in head and "operator" not in head:  # an initialiser
        return level()
    if (name := class_name(head)) is not None:
        return level(name, declares=True)  # `struct {} name;` goes on
    if not around.declares:
        return level(is_part=False)
    if (name := function_name(head)) is not None:
        return level(name, is_part=False)
    return level()


def without_template_arguments(head):
    kept, depth = [], 0
    for i, token in enumerate(head):
        if token == "<" and head[i - 1] != "operator":
            depth += 1
        elif token == ">" and depth > 0:
            depth -= 1
        elif depth == 0:
            kept.append(token)
    return kept


def class_name(head):
    """`error` for `class RESILIENCE_VISIBLE error final : public base`; None where it is no class that is opened."""
    key = next((i for i, token in enumerate(head) if token in CLASS_KEYS), None)
    if key is None or "}" in head:  # `struct {} name{` is a variable's
        return None
    end = next((i for i in range(key, len(head)) if head[i] in (":", "final")), len(head))
    if head[end - 1] in CLASS_KEYS:
        return ""
    return qualified(head, end - 1) if WORD.fullmatch(head[end - 1]) else None


def function_name(head):
    """`outcome::take` for `auto outcome::take() const &`; None where it is an initialiser that is opened."""
    if "operator" in head:
        name = head.index("operator")
        parameters = head.index("(", name + 2)
    else:
        may_be = (i for i in range(1, len(head)) if head[i] == "(" and WORD.fullmatch(head[i - 1]))
        parameters = next((i for i in may_be if head[i - 1] not in NO_FUNCTIONS and not MACRO.fullmatch(head[i - 1])), None)
        if parameters is None:
            return None
        name = parameters - 1
    rest = head[parameters + 2 :]
    if rest[-1:] == ["requires"] or rest[-3:] == ["requires", "(", ")"]:
        return None
    if ":" in rest and WORD.fullmatch(rest[-1]):  # a member that a constructor initialises
        return None
    return qualified(head, name) + "".join(head[name + 1 : parameters])


def qualified(head, name):
    """The word at `name`, with the classes before it."""
    begin = name - 1 if head[name - 1] == "~" else name
    while head[begin - 1] == "::":
        begin -= 2
    return "".join(head[begin : name + 1])
