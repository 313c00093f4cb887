"""The library by itself: integers of any width against Python's, decoders and encoders against the formats."""

import re
import subprocess
from fractions import Fraction
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from tetrit import formats
from tetrit.hls.cpp.constants import columns, packed, signed_bits, wide_words
from tetrit.hls.cpp.kinds import format_type
from tetrit.sim.simd.reference import code_of

LIBRARY = Path(str(resources.files("tetrit.hls.cpp"))) / "library"
WIDTHS = (1, 5, 8, 31, 63, 64, 65, 100, 127, 128, 129, 192, 200)


def compiled(folder, source, headers=None):
    path = folder / "probe.cpp"
    path.write_text(source)
    flags = ["-w", "-DTETRIT_AP_TYPES", "-isystem", str(headers)] if headers else ["-Wall", "-Wextra", "-Werror"]
    command = ["g++", "-std=c++17", "-O0", *flags, "-Wno-unknown-pragmas", f"-I{LIBRARY}", "-o", folder / "probe", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "probe"


def answers(program, lines):
    done = subprocess.run([program], input="\n".join(lines) + "\n", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


INTEGERS = """
#include <cstdio>
#include <cstdlib>
#include "tetrit/integers.h"

// numbers come and go as 64-bit words, lowest first
template <int BITS> tetrit::Int<BITS> taken() {
  tetrit::UInt<64> words[4];
  for (auto& word : words) { unsigned long long w; if (std::scanf("%llx", &w) != 1) std::exit(3); word = w; }
  return tetrit::joined<BITS>(words);
}
template <class T> void given(const T& value) {
  for (int i = 0; i < 4; ++i) std::printf("%llx ", (unsigned long long)tetrit::UInt<64>(value >> (64 * i)).to_uint64());
}
template <int BITS> void run(int count) {
  using S = tetrit::Int<BITS>;
  using U = tetrit::UInt<BITS>;
  const S a = taken<BITS>(), b = taken<BITS>();
  const U ua = a, ub = b;
  given(S(a + b)); given(S(a - b)); given(S(-a)); given(S(a | b)); given(S(a << count)); given(S(a >> count));
  given(U(ua + ub)); given(U(ua >> count)); given(U(ua << count));
  given(tetrit::Int<BITS + 3>(a)); given(tetrit::UInt<BITS + 70>(a)); given(tetrit::Int<7>(a));
  given(tetrit::UInt<70>(ua));
  std::printf("%d %d %d %d ", int(a < b), int(a == b), int(ua < ub), int(a[BITS - 1]));
  if constexpr (BITS <= 64) {
    given(tetrit::Int<2 * BITS>(a * b)); given(tetrit::UInt<2 * BITS>(ua * ub));
    given(tetrit::Int<2 * BITS>(a * ub));
  }
  std::printf("\\n");
}
int main() {
  int bits, count;
  while (std::scanf("%d %d", &bits, &count) == 2) {
    switch (bits) { CASES }
  }
}
"""


def words(value):
    return [f"{(value >> 64 * i) % 2**64:x}" for i in range(4)]


def signed(value, bits):
    value %= 2**bits
    return value - (value >> (bits - 1) << bits)


def expected(bits, count, a, b):
    ua, ub = a % 2**bits, b % 2**bits
    results = [
        signed(a + b, bits), signed(a - b, bits), signed(-a, bits), a | b,
        signed(a << count, bits), a >> count, (ua + ub) % 2**bits, ua >> count, (ua << count) % 2**bits,
        a, a % 2 ** (bits + 70), signed(a, 7), ua % 2**70,
    ]  # fmt: skip
    answer = [word for value in results for word in words(value)]
    answer += [str(int(flag)) for flag in (a < b, a == b, ua < ub, a < 0)]
    if bits <= 64:
        answer += [word for value in (a * b, ua * ub, a * ub) for word in words(value)]
    return answer


def cases(widths):
    rng = np.random.default_rng(5)
    for bits in widths:
        ends = [0, 1, -1, 2 ** (bits - 1) - 1, -(2 ** (bits - 1))]
        drawn = [int.from_bytes(rng.bytes(32), "little") for _ in range(12)]
        for a in [signed(value, bits) for value in (*ends, *drawn)]:
            for b in [signed(value, bits) for value in (*ends[2:], int(rng.integers(2**62)), drawn[0], a)]:
                yield bits, int(rng.integers(0, bits + 2)), a, b


@pytest.mark.parametrize("vendor", [False, True])
def test_integers_are_pythons(vendor, ap_types, tmp_path):
    widths = (8, 64, 129) if vendor else WIDTHS
    source = INTEGERS.replace("CASES", " ".join(f"case {bits}: run<{bits}>(count); break;" for bits in widths))
    program = compiled(tmp_path, source, ap_types if vendor else None)
    # the vendor's shifts are only asked for counts below the width, as in the library
    wanted = [case for case in cases(widths) if case[1] < case[0] or not vendor]
    lines = [" ".join([str(bits), str(count), *words(a), *words(b)]) for bits, count, a, b in wanted]
    found = answers(program, lines)
    assert len(found) == len(wanted) > 200
    for case, line in zip(wanted, found, strict=True):
        assert line.split() == expected(*case), case


DECODED = [
    "szt", "pot2", "pot3", "pot4", "pot3z", "pot4z", "fp4_e2m1", "fp4_e3m0", "fp8_e4m3", "fp8_e5m2",
    "posit4_1", "posit8_0", "posit16_1",
]  # fmt: skip
ENCODED = ["fp4_e2m1", "posit4_1", "posit8_0", "posit16_1"]

FORMATS = """
#include <cstdio>
#include "tetrit/formats.h"

template <class Format> void decode() {
  for (int code = 0; code < 1 << Format::bits; ++code) {
    const auto d = Format::decode(tetrit::UInt<Format::bits>(code));
    const long long magnitude = (long long)d.significand.to_int64() << d.shift;
    if (magnitude != 0 && (d.significand.to_int64() >> Format::significand_bits) != 0) std::printf("wide ");
    std::printf("%lld%s ", d.negative ? -magnitude : magnitude, d.nar ? "n" : "");
  }
  std::printf("\\n");
}
typedef unsigned long long Word;
template <class Format> int encode(int negative, Word high, Word low, int exponent, int nar) {
  const tetrit::UInt<64> words[3] = {low, high, 0};
  return Format::encode(negative != 0, tetrit::UInt<130>(tetrit::joined<130>(words)), exponent, nar != 0).to_int();
}
int main() {
  DECODE
  int format, negative, exponent, nar;
  unsigned long long high, low;
  while (std::scanf("%d %d %llx %llx %d %d", &format, &negative, &high, &low, &exponent, &nar) == 6) {
    int code = -1;
    switch (format) { ENCODE }
    std::printf("%d\\n", code);
  }
}
"""


def numbers(name):
    """Yield magnitudes and exponents: around every code's value and border, and beyond all of them."""
    known = formats.get(name)
    values = np.sort(np.abs(known.values[np.isfinite(known.values)]))
    if len(values) > 600:
        values = np.concatenate([values[:200], values[:: len(values) // 200], values[-200:]])
    pairs = set()
    for value in values[values > 0]:
        fraction, exponent = np.frexp(value)
        whole, exponent = int(fraction * 2**20), int(exponent) - 20
        for step in (0, 1 << 44, 1 << 60, 1 << 63):  # of the value times 2^-64: up to the next one and its borders
            for more in (-1, 0, 1):
                pairs.add(((whole << 44) + step + more, exponent - 44))
        pairs.add((whole * 3, exponent - 1))
    rng = np.random.default_rng(6)
    for _ in range(300):
        width = int(rng.integers(1, 129))
        pairs.add((int.from_bytes(rng.bytes(16), "little") >> (128 - width), int(rng.integers(-160, 60))))
    return sorted((m, e) for m, e in pairs if 0 <= m < 2**128)


@pytest.mark.parametrize("vendor", [False, True])
def test_decoders_and_encoders_are_those_of_the_formats(vendor, ap_types, tmp_path):
    source = FORMATS.replace("DECODE", " ".join(f"decode<{format_type(name)}>();" for name in DECODED)).replace(
        "ENCODE",
        " ".join(
            f"case {i}: code = encode<{format_type(name)}>(negative, high, low, exponent, nar); break;"
            for i, name in enumerate(ENCODED)
        ),
    )
    program = compiled(tmp_path, source, ap_types if vendor else None)
    asked = [
        (i, sign, magnitude, exponent)
        for i, name in enumerate(ENCODED)
        for magnitude, exponent in (numbers(name)[::7] if vendor else numbers(name))
        for sign in (0, 1)
    ]
    lines = [f"{i} {sign} {m >> 64:x} {m % 2**64:x} {e} 0" for i, sign, m, e in asked]
    lines += [f"{i} 1 0 5 0 1" for i, name in enumerate(ENCODED) if formats.get(name).has_nan]
    found = answers(program, lines)
    for name, line in zip(DECODED, found, strict=False):
        known = formats.get(name)
        fields = line.split()
        real = np.isfinite(known.values)
        assert [int(field.rstrip("n")) for field, is_real in zip(fields, real, strict=True) if is_real] == (
            known.integers[real].tolist()
        ), name
        if name.startswith("posit"):
            assert [field.endswith("n") for field in fields] == (~real).tolist()
    results = [int(line) for line in found[len(DECODED) :]]
    assert results[len(asked) :] == [8, 128, 2**15]
    wrong = [
        (ENCODED[i], sign, magnitude, exponent, code)
        for (i, sign, magnitude, exponent), code in zip(asked, results, strict=False)
        if code != code_of(value_of(sign, magnitude, exponent), ENCODED[i])
    ]
    assert wrong == []
    assert len(asked) > 1000


def value_of(sign, magnitude, exponent):
    value = magnitude * Fraction(2) ** exponent
    return -value if sign else value


def test_synthesis_sees_nothing_that_it_cannot_build():
    """No heap, no recursion by name, no library of C++: but in what only the fallback has."""
    for path in sorted((LIBRARY / "tetrit").iterdir()):
        text = path.read_text()
        if path.name == "limbs.h":
            continue  # the fallback's own
        kept, skipping = [], 0
        for line in text.splitlines():
            if line.startswith("#ifdef TETRIT_AP_TYPES"):
                skipping = 1  # the vendor's branch is kept
            elif skipping and line.startswith("#else"):
                skipping = 2
            elif skipping and line.startswith("#endif"):
                skipping = 0
            if skipping != 2:
                kept.append(line.split("//")[0])
        body = "\n".join(kept)
        words = r"std::|\b(new|malloc|virtual|throw|while|goto|float|double)\b|static int\b"
        assert re.search(words, body) is None, path.name
        assert f"TETRIT_{path.stem.upper()}_H" in body


def test_weights_are_packed_as_they_are_said_to_be():
    rng = np.random.default_rng(7)
    for bits, groups, k, n, tile_k, tile_n in (
        (2, 1, 9, 5, 4, 2),
        (3, 2, 7, 6, 7, 6),
        (16, 1, 5, 3, 2, 3),
        (1, 1, 1, 1, 1, 1),
    ):
        codes = rng.integers(0, 2**bits, (groups, k, n))
        rows, width = packed(codes, bits, tile_k, tile_n)
        per_word = width // bits
        steps_k, steps_n = -(-k // tile_k), -(-n // tile_n)
        assert width <= 64 and len(rows) == groups * steps_k * steps_n
        for group in range(groups):
            for row in range(k):
                for column in range(n):
                    step = (group * steps_n + column // tile_n) * steps_k + row // tile_k
                    index = column % tile_n * tile_k + row % tile_k
                    word = int(rows[step, index // per_word])
                    assert word >> index % per_word * bits & 2**bits - 1 == codes[group, row, column]
        padding = sum(int(word).bit_count() for word in rows.reshape(-1)) - sum(int(c).bit_count() for c in codes.flat)
        assert padding == 0


def test_columns_and_wide_words():
    assert columns(np.arange(6), 2, 2, 9).tolist() == [[0, 1], [2, 9], [3, 4], [5, 9]]
    assert signed_bits([0]) == 1 and signed_bits([-1, 1]) == 2 and signed_bits([-128]) == 8 and signed_bits([128]) == 9
    found = wide_words([-1, 2**64 + 5, -(2**100)], 102)
    assert [[int(word) for word in row] for row in found] == [
        [2**64 - 1, 2**64 - 1], [5, 1], [0, 2**64 - 2**36]
    ]  # fmt: skip
