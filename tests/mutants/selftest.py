#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sees that mutants are found, applied and renamed as table.py says; `run.py --check` runs it."""
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import places  # noqa: E402
import source  # noqa: E402
import table  # noqa: E402

# code -> the scope that `here` lies in
SCOPES = {
    # namespaces are no scopes, however they are opened
    "namespace a::inline B::detail { void f() { here; } }": "f",
    "namespace a { inline namespace B { namespace detail { void f() { here; } } } }": "f",
    "namespace a {} void f() { here; }": "f",
    'extern "C" { void f() { here; } }': "f",
    'extern "C" {} void f() { here; }': "f",
    'extern "C" void f() { here; }': "f",
    # classes
    "struct s { int here; };": "s",
    "struct s { struct t { int here; }; };": "s::t",
    "struct s { int x; } here;": "",
    "struct s { int x; }; int here;": "",
    "struct { int here; } x;": "",
    "class RESILIENCE_VISIBLE s final : public b<c> { int here; };": "s",
    "template <class T = struct x> struct s : b { int here; };": "s",
    "template <> struct s<t> { int here; };": "s",
    "struct s::t { int here; };": "s::t",
    "struct alignas(64) s { int here; };": "s",
    "enum class s : int { here };": "s",
    "enum s { here };": "s",
    "union s { int here; };": "s",
    # functions, from their heads on
    "void f() { here; }": "f",
    "void f() {} int here;": "",
    "template <class here> void f() {}": "f",
    "void f(int here) {}": "f",
    "struct s { void f() { here; } };": "s::f",
    "struct s { void f() {} int here; };": "s",
    "void s<t>::f() const& { here; }": "s::f",
    "template <> void f<int>() { here; }": "f",
    "inline RESILIENCE_COLD void f() { here; }": "f",
    "RESILIENCE_MACRO(x) void f() RESILIENCE_MACRO(y) { here; }": "f",
    "[[nodiscard]] std::function<void(int)> f() { here; }": "f",
    "__attribute__((cold)) void f() { here; }": "f",
    "struct s f() { here; }": "f",
    "int here; void f() {}": "",
    "explicit(true) operator bool() const { here; }": "operatorbool",
    "auto f() noexcept(true) -> g<int> { here; }": "f",
    "bool s::operator==(s a) { here; }": "s::operator==",
    "s& operator=(s a) { here; }": "operator=",
    "bool operator<(s a) { here; }": "operator<",
    "bool operator>(s a) { here; }": "operator>",
    "void operator()(int a) { here; }": "operator()",
    "void operator[](int a) { here; }": "operator[]",
    "template <class T> requires requires(T t) { t(); } void f(T a) { here; }": "f",
    "template <class T> requires (a<T>) && (b<T>) void f() { here; }": "f",
    "void f() requires requires { x; } { here; }": "f",
    "void f() requires requires(int x) { x; } { here; }": "f",
    # constructors
    "s::s(int a) : a_{a}, b_(a) { here; }": "s::s",
    "s::s(int a) : a_(a), b_<c>{a} { here; }": "s::s",
    "s::s(int a) : a_{here} {}": "s::s",
    "s::~s() { here; }": "s::~s",
    "struct s { s() { here; } };": "s::s",
    "struct s { explicit(true) s() { here; } };": "s::s",
    "struct s { public: s() : a_{1} { here; } };": "s::s",
    # braces that open neither
    "template <class T> concept c = requires(T t) { here; };": "",
    "auto x = [](int a) { here; };": "",
    "auto x = f(1) + s{here};": "",
    "struct s { int f(); int a_{here}; };": "s",
    "struct s { alignas(64) int a_{here}; };": "s",
    "struct s { decltype(f()) a_{here}; };": "s",
    "struct s { int a_{here}; };": "s",
    "struct s { int a_{1}; void f() { here; } };": "s::f",
    "void f() { auto l = [&](int x) { here; }; }": "f",
    "void f() { if (x) { y; } for (;;) { here; } }": "f",
    "void f() { g(s{here}); }": "f",
    "void f() { g([] { x; }); } int here;": "",
    "void f() { struct l { void g() { here; } }; }": "f::l::g",
    "void f() { struct l { ~l() {} } x{here}; }": "f",
    "void f() { if (x) {} struct l { int here; }; }": "f::l",
    # braces that are none
    "void f() { g(\"}\", '}', R\"x()\"})x\"); /* } */ // }\n here; }": "f",
    "#define X \\\n {\nvoid f() { here; }": "f",
    "#if A\nvoid f() {\n#else\nvoid g() {\n#endif\nhere; } int x;": "g",
    "#if A\nvoid f() {\n#if B\n#endif\n}\n#else\nvoid g() {\n#endif\nhere; }": "g",
    "#if A\nvoid f() {\n#elif B\nvoid f() {\n#endif\n} int here;": "",
}

# tokens, scope, header -> how often they are found there
FOUND = [
    ("f( a,b )", "", "f(a, // the first\n  b);", 1),
    ("#define X a b", "", "#define X a \\\n b", 1),
    ("a", "", "ab; a_; ba; 1a; \"a\"; 'a'; a;", 1),
    ("a<b<c>>", "", "a<b<c> >", 1),
    ("3", "", "1'3; 1.5e-3; 0x3; .3; 3s; 3;", 1),
    ("1", "", "1.5; 1.e3; 1;", 1),
    ("a", "", 'R"x(a)b a)x"; a;', 1),
    ("u8", "", "u8\"u8\"; u8R\"(\" u8)\"; u8'u'; u8;", 1),
    ("&", "", "a && b; a &= b; a & b;", 1),
    ("|", "", "a || b; a |= b; a | b;", 1),
    ("+", "", "++a; a += b; a + b;", 1),
    ("-", "", "--a; a -= b; a->b; a->*b; a - b;", 1),
    ("*", "", "a->*b; a.*b; a *= b; a * b;", 1),
    ("<", "", "a <=> b; a <= b; a << b; a <<= b; a < b;", 1),
    (">", "", "a <=> b; a >= b; a > b;", 1),
    ("=", "", "a == b; a != b; a <= b; a >= b; a <<= b; a = b;", 1),
    (":", "", "a::b; a ? b : c;", 1),
    (".", "", "f(a...); 1.5; a.*b; a.b;", 1),
    ("#", "", "#define X(a) a##b", 1),
    ("a b a", "", "a b a b a", 2),
    ("a", "f", "void f() { a; } void g() { a; } void h(int f) { a; }", 1),
    ("a", "s::f", "struct s { void f() { a; } }; void f() { a; }", 1),
    ("a", "s", "struct s { int b; }; void s::f() { a; } struct s2 { int a; };", 1),
    ("a", "operator bool", "operator bool() { a; }", 1),
    ("a", "~s", "s::~s() { a; } s::s() { a; }", 1),
]

# header, edits -> what the header becomes, or what is said
APPLIED = [
    ("f(a);", [("a", "b")], "f(b);"),
    ("f(-a);", [("a", "-a")], "f(- -a);"),
    ("f(a); g(b);", [("b", "a"), ("f(a)", "")], "; g(a);"),
    ("f(a);", [("f(a", ""), ("a)", "")], "two edits change the same tokens"),
    ("f(a);", [("a)", "a )")], "changes nothing"),
    ("f(a);", [("b", "c")], "does not occur; nearest is"),
    ("void f() { a; } void g() { a; }", [("a", "b")], "occurs 2 times:\n    resilience/m/x.hpp:1, in f\n    resilience/m/x.hpp:1, in g"),
]

# tokens, scope -> what is said of this header
NOISE = "void noise() { lease(s.k); erase; " + "w(e); r[t]; " * 1000 + "erase " * 150 + "}\n"
NEAR = NOISE + """void f() {
  lease.erase(key); }
void g() {
  lease.insert(key, 1);
  g.x();
}
struct a { struct b { void h() { leases.erase(keys); } }; };
int j = lease(1);
""" + NOISE
NEAREST = [
    ("lease.erase(k)", "", "`lease.erase(k)` does not occur; nearest is resilience/m/x.hpp:3, in f:\n    lease.erase(key); }"),
    ("lease.erase(k)", "g", "x.hpp:5, in g:\n    lease.insert(key, 1);"),
    ("lease.erase(k)", "nobody", "x.hpp:3, in f:"),
    ("leases_.erase(keys_)", "", "x.hpp:8, in b::h:"),
    ("int j = lease(2)", "", "x.hpp:9, in no scope:"),
    ("lease.erase(key)", "g", "`lease.erase(key)` does not occur in `g`, but:\n    resilience/m/x.hpp:3, in f"),
    ("r[t]", "g", "`r[t]` does not occur in `g`; nearest is resilience/m/x.hpp:"),
    ("r[t]", "", "`r[t]` occurs 2000 times:" + "\n    resilience/m/x.hpp:1, in noise" * 5 + "\n    ..."),
    ("w " * 50000, "", "does not occur"),
]

RENAMED = [
    ("a", "b", "in = \"a::aa\"\nold = 'a + ba'\nnew = ''\n", "in = \"b::aa\"\nold = 'b + ba'\nnew = ''\n"),
    ("a::b", "c", "old = '''\na::b\n  'a' :: b a  ::  b'''\n", "old = '''\nc\n  'a' :: b c'''\n"),
    ("a", "b", "breaks = \"a\"\nold = 'x'\nkills = [\"a: a\"]\n", "breaks = \"a\"\nold = 'x'\nkills = [\"a: a\"]\n"),
]


def with_header(folder, text):
    """The library is this one header."""
    places.include = pathlib.Path(folder)
    path = places.include / "resilience" / "m" / "x.hpp"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    for cached in (places.headers, places.joined, places.weights):
        cached.cache_clear()


def compared(folder):
    """The tested, the expected, the found."""
    for code, expected in SCOPES.items():
        header = source.header("x", code)
        here = header.tokens.index("here")
        yield code, expected, header.scope_of(here, here + 1)
    for old, scope, text, expected in FOUND:
        with_header(folder, text)
        yield f"{old} in {scope or text}", expected, len(places.found(old, scope))
    for text, edits, expected in APPLIED:
        with_header(folder, text)
        problems = []
        texts = table.mutated({"id": "X-01", "edit": [{"old": old, "new": new} for old, new in edits]}, problems)
        if problems:
            yield f"{edits} in {text}", True, expected in problems[0]
        else:
            yield f"{edits} in {text}", source.tokens(expected), source.tokens(texts["resilience/m/x.hpp"])
    with_header(folder, NEAR)
    for old, scope, expected in NEAREST:
        said = places.why_not(old, scope, places.found(old, scope))
        yield f"{old} near {scope}", expected, said if expected not in said else expected
    for old, new, text, expected in RENAMED:
        table.here = pathlib.Path(folder)
        (table.here / "x.toml").write_text(text)
        count = table.rename(old, new)
        yield f"{old} renamed", (expected, 0 if text == expected else 2), ((table.here / "x.toml").read_text(), count)


def problems():
    before = places.include, table.here
    try:
        with tempfile.TemporaryDirectory() as folder:
            return [f"selftest: {what}: {got!r} and not {want!r}" for what, want, got in compared(folder) if want != got]
    finally:
        places.include, table.here = before
        places.headers.cache_clear()
        places.weights.cache_clear()


if __name__ == "__main__":
    found = problems()
    print(*found, f"selftest: {len(found)} findings", sep="\n")
    sys.exit(1 if found else 0)
