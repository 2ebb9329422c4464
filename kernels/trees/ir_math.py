"""exp and log of vectors of doubles in LLVM IR: no call, no branch, the same bits on every processor.

Both take only additions, multiplications, divisions and bit operations, each rounded once, so that one and sixteen
lanes, SSE and NEON agree. Largest errors, held against extended precision by tests/kernels/trees/test_finish.py:
exp 0.9, exp2 1.1, log 0.85, log1p_exp 2 units in the last place of a double; 0.501 of a float where rounded to one.
"""

from __future__ import annotations

import math
import struct

from neoc.kernels.ir import Function

ROUND = 1.5 * 2**52
"""added to a number below 2^51, it leaves the nearest whole number in the low bits"""
LN2_HIGH = struct.unpack("<d", struct.pack("<Q", 0x3FE62E42FEE00000))[0]
"""ln 2 without its last 32 bits: its multiples up to 2^32 are exact (fdlibm, e_exp.c)"""
LN2_LOW = 1.90821492927058770002e-10
LOG_TERMS = (
    *(6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01),
    *(1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01),
)
"""of (log(1+f) - f) in s = f/(2+f): fdlibm, e_log.c, error below 2^-58.45"""


class Lanes:
    """Arithmetic on vectors of `count` doubles."""

    def __init__(self, f: Function, count: int) -> None:
        self.f, self.count = f, count
        self.kind, self.whole = f"<{count} x double>", f"<{count} x i64>"

    def number(self, value: float) -> str:
        """The constant in every lane, by its bits."""
        one = f"double 0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"
        return "<" + ", ".join([one] * self.count) + ">"

    def bits(self, value: int) -> str:
        return "<" + ", ".join([f"i64 {value}"] * self.count) + ">"

    def op(self, name: str, a: str, b: str) -> str:
        return self.f.value(f"{name} {self.kind} {a}, {b}")

    def add(self, a: str, b: str) -> str:
        return self.op("fadd", a, b)

    def sub(self, a: str, b: str) -> str:
        return self.op("fsub", a, b)

    def mul(self, a: str, b: str) -> str:
        return self.op("fmul", a, b)

    def chosen(self, test: str, a: str, b: str, yes: str, no: str) -> str:
        """a <test> b ? yes : no"""
        is_so = self.f.value(f"fcmp {test} {self.kind} {a}, {b}")
        return self.f.value(f"select <{self.count} x i1> {is_so}, {self.kind} {yes}, {self.kind} {no}")

    def as_bits(self, a: str) -> str:
        return self.f.value(f"bitcast {self.kind} {a} to {self.whole}")

    def as_number(self, a: str) -> str:
        return self.f.value(f"bitcast {self.whole} {a} to {self.kind}")

    def int_op(self, name: str, a: str, b: str) -> str:
        return self.f.value(f"{name} {self.whole} {a}, {b}")

    def polynomial(self, x: str, terms: tuple[float, ...]) -> str:
        """terms[0] + terms[1] x + ..., from the last one inwards."""
        total = self.number(terms[-1])
        for term in terms[-2::-1]:
            total = self.add(self.mul(total, x), self.number(term))
        return total

    def power_of_two(self, k: str) -> str:
        """2^k for whole k between -1022 and 1023: k becomes the exponent's bits."""
        shifted = self.as_bits(self.add(k, self.number(ROUND + 1023)))
        return self.as_number(self.int_op("shl", shifted, self.bits(52)))

    def rounded(self, x: str) -> str:
        """The nearest whole number, for |x| < 2^51."""
        return self.sub(self.add(x, self.number(ROUND)), self.number(ROUND))

    def clamped(self, x: str, low: float, high: float) -> str:
        """NaN stays NaN."""
        x = self.chosen("ogt", x, self.number(high), self.number(high), x)
        return self.chosen("olt", x, self.number(low), self.number(low), x)

    def exp(self, x: str, single: bool = False) -> str:
        """e^x: k = round(x / ln 2); r = x - k ln 2, in two parts r + c; 2^k (1 + r + r^2/2 + ... + c).

        single: the result will be rounded to a float: fewer terms.
        """
        x = self.clamped(x, -746.0, 710.0)
        k = self.rounded(self.mul(x, self.number(1 / math.log(2))))
        high = self.sub(x, self.mul(k, self.number(LN2_HIGH)))
        low = self.mul(k, self.number(LN2_LOW))
        return self._scaled(k, high, low, single)

    def exp2(self, x: str, single: bool = False) -> str:
        """2^x"""
        x = self.clamped(x, -1076.0, 1025.0)
        k = self.rounded(x)
        part = self.sub(x, k)
        high = self.mul(part, self.number(LN2_HIGH))
        # part has up to 53 bits: what rounding the product lost is put back by splitting it.
        rest = self.as_number(self.int_op("and", self.as_bits(part), self.bits(-(1 << 27))))
        tail = self.sub(part, rest)
        lost = self.add(self.sub(self.mul(rest, self.number(LN2_HIGH)), high), self.mul(tail, self.number(LN2_HIGH)))
        low = self.sub(self.mul(part, self.number(-LN2_LOW)), lost)
        return self._scaled(k, high, low, single)

    def _scaled(self, k: str, high: str, low: str, single: bool) -> str:
        """2^k e^(high - low), |high| < 0.35; twice by half the power, so that the smallest results round once."""
        r = self.sub(high, low)
        lost = self.sub(self.sub(high, r), low)
        terms = tuple(1 / math.factorial(n) for n in range(2, 10 if single else 14))
        rest = self.add(self.mul(self.mul(r, r), self.polynomial(r, terms)), lost)
        value = self.add(self.number(1), self.add(r, rest))
        half = self.rounded(self.mul(k, self.number(0.5)))
        return self.mul(self.mul(value, self.power_of_two(half)), self.power_of_two(self.sub(k, half)))

    def log(self, x: str) -> str:
        """ln x = k ln 2 + ln m, x = 2^k m, m between sqrt(1/2) and sqrt(2), by s = f / (2 + f), f = m - 1."""
        tiny = self.f.value(f"fcmp olt {self.kind} {x}, {self.number(2.0**-1022)}")
        raised = self.mul(x, self.number(2.0**54))
        y, less = (
            self.f.value(f"select <{self.count} x i1> {tiny}, {self.kind} {a}, {self.kind} {b}")
            for a, b in ((raised, x), (self.number(54), self.number(0)))
        )
        # The bits of sqrt(1/2) taken off, the exponent counts from there; what is left is put on again.
        root, one = 0x3FE6A09E667F3BCD, 0x3FF0000000000000
        moved = self.int_op("add", self.as_bits(y), self.bits(one - root))
        exponent = self.int_op("or", self.int_op("lshr", moved, self.bits(52)), self.bits(0x4330000000000000))
        k = self.sub(self.sub(self.as_number(exponent), self.number(2.0**52 + 1023)), less)
        part = self.int_op("and", moved, self.bits((1 << 52) - 1))
        f = self.sub(self.as_number(self.int_op("add", part, self.bits(root))), self.number(1))
        s = self.op("fdiv", f, self.add(self.number(2), f))
        z = self.mul(s, s)
        r = self.mul(z, self.polynomial(z, LOG_TERMS))
        half = self.mul(self.number(0.5), self.mul(f, f))
        inner = self.add(self.mul(s, self.add(half, r)), self.mul(k, self.number(LN2_LOW)))
        found = self.sub(self.mul(k, self.number(LN2_HIGH)), self.sub(self.sub(half, inner), f))
        found = self.chosen("oeq", x, self.number(math.inf), x, found)
        found = self.chosen("oeq", x, self.number(0), self.number(-math.inf), found)
        found = self.chosen("olt", x, self.number(0), self.number(math.nan), found)
        return self.chosen("uno", x, x, x, found)

    def log1p_exp(self, x: str, single: bool = False) -> str:
        """ln(1 + e^x) = max(x, 0) + ln(1 + e), e = e^-|x|; ln(1 + e) = ln u + (e - (u - 1)) / u, u = 1 + e."""
        size = self.as_number(self.int_op("or", self.as_bits(x), self.bits(-(1 << 63))))  # -|x|
        e = self.exp(size, single)
        u = self.add(self.number(1), e)
        lost = self.op("fdiv", self.sub(e, self.sub(u, self.number(1))), u)
        positive = self.chosen("ogt", x, self.number(0), x, self.number(0))
        found = self.add(positive, self.add(self.log(u), lost))
        return self.chosen("uno", x, x, x, found)
