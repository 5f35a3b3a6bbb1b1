# SPDX-License-Identifier: Apache-2.0
"""A C program of 10,000 lines, always the same: functions that compute on integers, floating point,
structures and text, and a main that prints what they give."""

import random

LINES = 10_000
rng = random.Random(4)
TYPES = {"u32": "%u", "i64": "%lld", "double": "%.17g"}


def value(names, depth=0):
    """An expression of unsigned integers."""
    if depth > 3 or rng.random() < 0.3:
        return rng.choice([*names, f"{rng.randrange(1, 1 << 20)}u"])
    a, b = value(names, depth + 1), value(names, depth + 1)
    return rng.choice([f"({a} + {b})", f"({a} * {b})", f"({a} ^ {b})", f"({a} - {b})",
                       f"({a} / ({b} | 1u))", f"({a} % ({b} | 3u))", f"({a} >> ({b} & 15u))",
                       f"rotate({a}, {b} & 31u)", f"({a} < {b} ? {a} : {b})"])


def real(names, depth=0):
    """An expression of floating point."""
    if depth > 2 or rng.random() < 0.3:
        return rng.choice([*names, repr(rng.uniform(-100, 100))])
    a, b = real(names, depth + 1), real(names, depth + 1)
    return rng.choice([f"({a} + {b})", f"({a} * {b} * 1e-3)", f"({a} - {b})",
                       f"({a} / ({b} * {b} + 1.0))", f"fabs({a})", f"sqrt(fabs({b}))"])


def function(n):
    """The lines of function n, which may call those before it."""
    earlier = [f"f{rng.randrange(n)}(x + {k}u, deep - 1u)" for k in range(2)] if n else ["x", "7u"]
    yield f"static u32 f{n}(u32 x, u32 deep)"
    yield "{"
    yield f"\tu32 a = {value(['x'])}, b = {value(['x', 'deep'])};"
    yield f"\tdouble d = (double)(a & 1023u), e = {real(['d'])};"
    yield f"\tstruct point p = {{{value(['a', 'b'])} & 255u, {real(['d', 'e'])}, {{0}}}};"
    yield f"\tfor (u32 i = 0; i < {rng.randrange(3, 20)}u; i++) {{"
    yield f"\t\tp.text[i % sizeof(p.text)] = (char)('a' + {value(['i', 'a'])} % 26u);"
    yield f"\t\ta = {value(['a', 'b', 'i'])};"
    yield f"\t\td += {real(['d', 'e'])} * 1e-2;"
    yield "\t\tif ((a & 3u) == 1u)"
    yield f"\t\t\tb ^= {value(['a', 'i'])};"
    yield "\t}"
    yield "\tswitch (b % 5u) {"
    for case in range(4):
        yield f"\tcase {case}: a += {value(['b', 'x'])}; break;"
    yield "\tdefault: a -= p.number;"
    yield "\t}"
    yield "\tif (deep && (a & 1u))"
    yield f"\t\ta ^= {earlier[0]} + {earlier[1]};"
    yield "\tif (!(d < 1e12 && d > -1e12))"
    yield "\t\td = 1.0;"
    yield "\tp.real += d;"
    yield "\treturn a ^ sum(&p);"
    yield "}"
    yield ""


def program():
    """All lines."""
    lines = ["#include <math.h>", "#include <stdio.h>", "#include <string.h>",
             "typedef unsigned u32;", "typedef long long i64;",
             "struct point { u32 number; double real; char text[12]; };",
             "static u32 rotate(u32 a, u32 n) { return n ? a << n | a >> (32u - n) : a; }",
             "static u32 sum(const struct point *p)", "{", "\tu32 s = p->number;",
             "\tfor (u32 i = 0; i < sizeof(p->text); i++)",
             "\t\ts = s * 31u + (unsigned char)p->text[i];",
             "\treturn s ^ (u32)(i64)(p->real < 1e9 && p->real > -1e9 ? p->real : 0.0);", "}", ""]
    count = 0
    while len(lines) < LINES - 600:
        lines += function(count)
        count += 1
    lines += ["int main(void)", "{", "\tu32 all = 0;"]
    per_line = -(-count // (LINES - len(lines) - 3))
    for n in range(0, count, per_line):
        calls = " ".join(f"all = all * 33u + f{k}({k}u, 3u);"
                         for k in range(n, min(n + per_line, count)))
        lines.append(f"\t{calls}" + (' printf("%u\\n", all);' if n % 20 == 0 else ""))
    lines += ["\t/* and so on */"] * (LINES - len(lines) - 3)
    return lines + ['\tprintf("all %u\\n", all);', "\treturn 0;", "}"]


print("\n".join(program()))
