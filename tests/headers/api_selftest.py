# SPDX-License-Identifier: Apache-2.0
"""Sees that api.py lists declarations and nothing else; it runs this first."""

# code at namespace scope -> the lines of the listing, without those of namespaces and with four blanks a level
CASES = {
    # declarations
    "inline int f(int a) noexcept { return a; }": ["int f(int a) noexcept"],
    "RESILIENCE_COLD RESILIENCE_FUNCTION int f();": ["int f()"],
    "std::string f(const g::h& a);": ["std::string f(const g::h& a)"],
    "template <class T = a::b> T f(T a) { return a; }": ["template <class T = a::b> T f(T a)"],
    "std::function<void(a::b)> f();": ["std::function<void(a::b)> f()"],
    "constexpr int limit = a::b(3);": ["constexpr int limit = a::b(3)"],
    "struct s : a::b {};": ["struct s : a::b"],
    "enum class e : a::b { x = 1, y };": ["enum class e : a::b", "    x = 1", "    y"],
    "template <> struct std::is_a<s> : std::true_type {};": ["template <> struct std::is_a<s> : std::true_type"],
    # what declares nothing
    "struct s;": [],
    "static_assert(f());": [],
    "namespace detail { int f(); }": [],
    # classes
    "class s { int a; public: int b = 1; private: int c; };": ["class s", "    int b = 1"],
    "struct s { int a;\n// For drivers.\nint b; };": ["struct s", "    int a"],
    "struct s { int a;\n// For drivers who read this.\nint b; };": ["struct s", "    int a", "    int b"],
    "struct s { s(int a) : a_{a}, b_(a) { f(); } int c; };": ["struct s", "    s(int a)", "    int c"],
    "struct s { RESILIENCE_FUNCTION virtual int f() const; };": ["struct s", "    virtual int f() const"],
    # a destructor is no other one because its body is elsewhere
    "struct s { virtual ~s() = default; };": ["struct s", "    virtual ~s()"],
    "struct s { RESILIENCE_FUNCTION virtual ~s(); };": ["struct s", "    virtual ~s()"],
    "struct s { s() = default; };": ["struct s", "    s() = default"],
    # members outside of their class
    "RESILIENCE_FUNCTION int s::f() const { return 1; }": [],
    "RESILIENCE_FUNCTION s::s(int a, b c)\n    : d(e(f::g)), a_{a}, c_(c) {}\nint h();": ["int h()"],
    "RESILIENCE_FUNCTION s::s(int a)\n    : a_{[] { return 1; }()} {\n    f();\n}\nint h();": ["int h()"],
    "RESILIENCE_FUNCTION s::~s() = default;": [],
    "RESILIENCE_FUNCTION s& s::operator=(const s& a) { return *this; }": [],
    "RESILIENCE_FUNCTION bool s::operator==(const s& a) const = default;": [],
    "void s::operator()(int a) { f(); }": [],
    "s::operator a::b() const { return f(); }": [],
    "template <class E>\nconst E* s::as() const noexcept { return f(); }": [],
    "RESILIENCE_FUNCTION bool s<a<b, c>>::f(a<b> d) { return d(); }": [],
    "RESILIENCE_FUNCTION a::b<c> d::e::f(g::h i) { return i(); }": [],
    "struct s::t { int a; };": [],
    "template <class T> struct s<T>::t : u { int a; };": [],
    # bodies
    "int f();\n#if RESILIENCE_BODIES\nRESILIENCE_FUNCTION int f() { return 1; }\n#endif\nint g();": ["int f()", "int g()"],
    "#if RESILIENCE_BODIES\nstruct s { int a; };\n#if 1\nint f();\n#endif\n#else\nint g();\n#endif": ["int g()"],
    "#if !RESILIENCE_BODIES\nint f();\n#else\nint g();\n#endif": ["int f()"],
    # templates that the compiled library has; no semicolon follows
    "RESILIENCE_INSTANTIATE(class a<b, c>)\nRESILIENCE_INSTANTIATE(std::d<e> f<g>(\n    h&, const i&))\nint j();": ["int j()"],
    # directives
    "#if A\nint f();\n#elif B\nint g();\n#else\nint h();\n#endif": ["int f()"],
    "#define RESILIENCE_X(a) a \\\n    b": ["    #define RESILIENCE_X(a)"],
}


def problems(listed):
    """`listed` is that of api.py."""
    found = []
    for code, wanted in CASES.items():
        lines = listed(f"namespace n {{\n{code}\n}}")
        got = [line.removeprefix(" " * 8) for line in lines if line != "    namespace n"]
        if got != wanted:
            found.append(f"selftest: {code!r}: {got!r} and not {wanted!r}")
    return found
