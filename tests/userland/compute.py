# SPDX-License-Identifier: Apache-2.0
"""Computing of many kinds, every result printed."""

import cmath
import decimal
import fractions
import hashlib
import json
import math
import random
import re
import statistics
import struct
import threading
import unicodedata
import zlib

rng = random.Random(20)
values = [rng.uniform(-1e3, 1e3) for _ in range(500)]
print("sum", repr(sum(values)), repr(math.fsum(values)), repr(statistics.stdev(values)))
for function in (math.sin, math.cos, math.tan, math.exp, math.atan, math.erf, math.sinh, math.cbrt,
                 math.gamma, math.log1p):
    print(function.__name__, [function(x).hex() for x in (0.1, 0.75, 1.5, 2.25, 9.875)])
print("powers", [(x ** 0.3).hex() for x in (1e-300, 0.5, 3.0, 1e300)], float("5e-324") / 2,
      1e308 * 10)
print("complex", cmath.exp(1 + 2j), cmath.sqrt(-3 + 4j))
print("hypot", math.hypot(3e200, 4e200), math.nextafter(1.0, 2.0), math.remainder(10, 3))
print("rounded", [f"{x:.3e} {round(x, 2)} {int(x)}" for x in values[:5]])

decimal.getcontext().prec = 60
print("decimal", decimal.Decimal(2).sqrt(), decimal.Decimal(1) / 7, decimal.Decimal("0.1").exp())
print("fraction", sum(fractions.Fraction(1, n) for n in range(1, 60)))
print("integers", hashlib.sha256(str(3 ** 5000).encode()).hexdigest(),
      pow(7, 1 << 300, (1 << 127) - 1), math.isqrt(10 ** 101), math.factorial(60) // 7 ** 9,
      math.gcd(2 ** 90 - 1, 2 ** 60 - 1))

tree = {"list": values[:20], "text": "Grüße \U0001f600 \"\\", "nested": [{"n": n, "half": n / 2}
        for n in range(50)], "none": None, "yes": True}
text = json.dumps(tree, sort_keys=True)
assert json.loads(text) == tree
print("json", len(text), hashlib.sha1(text.encode()).hexdigest())
print("struct", struct.pack("<hIqfd", -2, 3, -4, 0.1, 0.2).hex())
print("text", re.sub(r"(\w+) (\w+)", r"\2-\1", "hello brave new world"),
      unicodedata.normalize("NFD", "é").encode().hex(), "straße".upper(), sorted("ZaeB"))

data = bytes(rng.randrange(256) for _ in range(20000)) + b"abcd" * 20000
for name in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "blake2b",
             "blake2s"):
    print(name, hashlib.new(name, data).hexdigest())
print("pbkdf2", hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 2000).hex())
packed = zlib.compress(data, 9)
assert zlib.decompress(packed) == data
print("zlib", len(packed), zlib.crc32(data), zlib.adler32(packed))

counts = [0] * 4


def count(slot):
    for n in range(5000):
        counts[slot] += n


threads = [threading.Thread(target=count, args=(slot,)) for slot in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("threads", counts)
