// Number formats in hardware: codes decoded into sign, significand and shift, results rounded into codes.
//
// A code stands for (-1)^negative * significand * 2^shift, in units of the format's least positive value's own power of
// two. Where significand_bits is 1, every value is zero or a power of two, and no product with it needs a multiplier.
#ifndef TETRIT_FORMATS_H
#define TETRIT_FORMATS_H

#include "integers.h"

namespace tetrit {

// Whether codes of a format are integers, or are to be decoded
template <class Format, class = void>
struct IsInteger {
  static constexpr bool value = false;
};
template <class Format>
struct IsInteger<Format, decltype(void(Format::integer(UInt<Format::bits>(0))))> {
  static constexpr bool value = true;
};

template <int SIGNIFICAND_BITS>
struct Decoded {
  UInt<SIGNIFICAND_BITS> significand;  // 0 for zero
  int shift;
  bool negative;
  bool nar;  // not a real number
};

// Place of the highest one bit; 0 for zero
template <int BITS>
int highest_bit(const UInt<BITS>& value) {
#pragma HLS INLINE
  int place = 0;
  for (int i = 1; i < BITS; ++i) {
#pragma HLS UNROLL
    if (value[i]) place = i;
  }
  return place;
}

// A magnitude split at its leading one: KEPT bits below it, and whether anything follows those
template <int KEPT>
struct Normalised {
  UInt<KEPT> fraction;
  bool more;
  int place;  // of the leading one
};

template <int KEPT, int BITS>
Normalised<KEPT> normalised(const UInt<BITS>& magnitude) {
#pragma HLS INLINE
  constexpr int WIDTH = greater(BITS, KEPT + 2);
  constexpr int REST = WIDTH - 1 - KEPT;
  Normalised<KEPT> out;
  out.place = highest_bit(magnitude);
  const UInt<WIDTH> aligned = UInt<WIDTH>(magnitude) << (WIDTH - 1 - out.place);
  out.fraction = UInt<KEPT>(aligned >> REST);
  out.more = UInt<REST>(aligned) != UInt<REST>(0);
  return out;
}

// Signed-zero ternary: bit 1 is the sign, bit 0 says nonzero
struct Szt {
  static constexpr int bits = 2, significand_bits = 1;
  static Decoded<1> decode(const UInt<2>& code) {
#pragma HLS INLINE
    return {UInt<1>(code[0] ? 1 : 0), 0, code[1], false};
  }
};

// Signed powers of two: sign on top, exponent below; with ZERO, exponent field 0 is zero
template <int BITS, bool ZERO>
struct Pot {
  static constexpr int bits = BITS, significand_bits = 1;
  static Decoded<1> decode(const UInt<BITS>& code) {
#pragma HLS INLINE
    const int field = UInt<BITS - 1>(code).to_int();
    const bool zero = ZERO && field == 0;
    return {UInt<1>(zero ? 0 : 1), zero ? 0 : field - (ZERO ? 1 : 0), code[BITS - 1], false};
  }
};

// Integers: codes are their own bits
template <int BITS>
struct Signed {
  static constexpr int bits = BITS;
  static Int<BITS> integer(const UInt<BITS>& code) {
#pragma HLS INLINE
    return Int<BITS>(code);
  }
};

template <int BITS>
struct Unsigned {
  static constexpr int bits = BITS;
  static UInt<BITS> integer(const UInt<BITS>& code) {
#pragma HLS INLINE
    return code;
  }
};

// Sign, exponent, fraction, with subnormal numbers; codes of infinities and NaN are not among weights
template <int EXPONENT, int FRACTION>
struct Minifloat {
  static constexpr int bits = 1 + EXPONENT + FRACTION, significand_bits = FRACTION + 1;
  static constexpr int bias = (1 << (EXPONENT - 1)) - 1;

  static Decoded<FRACTION + 1> decode(const UInt<bits>& code) {
#pragma HLS INLINE
    const int field = UInt<EXPONENT>(code >> FRACTION).to_int();
    const int fraction = code.to_int() & ((1 << FRACTION) - 1);
    const int hidden = field != 0 ? 1 << FRACTION : 0;
    return {UInt<FRACTION + 1>(hidden + fraction), field != 0 ? field - 1 : 0, code[bits - 1], false};
  }

  // Nearest, ties to even, saturating: magnitude * 2^exponent. All codes are finite.
  template <int WIDTH>
  static UInt<bits> encode(bool negative, const UInt<WIDTH>& magnitude, int exponent, bool) {
#pragma HLS INLINE
    constexpr int KEPT = FRACTION + 1, LAST = (1 << (bits - 1)) - 1;
    constexpr int LOWEST = 1 - bias, BEYOND = (1 << EXPONENT) - bias;
    if (magnitude == UInt<WIDTH>(0)) return UInt<bits>(0);
    const Normalised<KEPT> top = normalised<KEPT>(magnitude);
    const int scale = top.place + exponent;
    const int place = greater(scale, LOWEST);
    const int below = place - scale;  // subnormal results lose more
    const int dropped = below > KEPT ? KEPT + 1 : below;
    const int significand = (1 << KEPT) + top.fraction.to_int();
    const bool more = top.more || (significand & ((1 << dropped) - 1)) != 0;
    const int cut = significand >> dropped;
    const int even = cut >> 1;
    const int rounded = even + ((cut & 1) && (more || (even & 1)) ? 1 : 0);
    const int code = (((place > BEYOND ? BEYOND : place) + bias - 1) << FRACTION) + rounded;
    return UInt<bits>((code > LAST ? LAST : code) + (negative ? 1 << (bits - 1) : 0));
  }
};

// Posit: sign, run-length regime, up to ES exponent bits, fraction; negated by two's complement
template <int BITS, int ES>
struct Posit {
  static constexpr int bits = BITS, significand_bits = greater(BITS - 3 - ES, 0) + 1;
  static constexpr int last_scale = (BITS - 2) << ES;  // of the largest; the least is its reciprocal

  static Decoded<significand_bits> decode(const UInt<BITS>& code) {
#pragma HLS INLINE
    constexpr int BODY = BITS - 1;
    const bool negative = code[BITS - 1];
    const UInt<BODY> body = negative ? UInt<BODY>(-Int<BITS>(code)) : UInt<BODY>(code);
    const bool leading = body[BODY - 1];
    int run = 1;
    bool same = true;
    for (int i = BODY - 2; i >= 0; --i) {
#pragma HLS UNROLL
      same = same && body[i] == leading;
      if (same) ++run;
    }
    const int rest_bits = run < BODY ? BODY - run - 1 : 0;
    const int rest = body.to_int() & ((1 << rest_bits) - 1);
    const int fraction_bits = rest_bits > ES ? rest_bits - ES : 0;
    const int missing = rest_bits < ES ? ES - rest_bits : 0;  // exponent bits that the regime pushed out are zeros
    const int power = (rest >> fraction_bits) << missing;
    const int fraction = rest & ((1 << fraction_bits) - 1);
    const int scale = (leading ? run - 1 : -run) * (1 << ES) + power;
    const bool none = body == UInt<BODY>(0);  // zero or, with the sign bit, not a real number
    return {UInt<significand_bits>(none ? 0 : fraction + (1 << fraction_bits)),
            none ? 0 : scale - fraction_bits + last_scale, negative, none && negative};
  }

  // Rounding of the posit standard: cut the endless pattern, nearest by the bits that follow, ties to the even code;
  // nothing but zero becomes zero.
  template <int WIDTH>
  static UInt<BITS> encode(bool negative, const UInt<WIDTH>& magnitude, int exponent, bool nar) {
#pragma HLS INLINE
    constexpr int BODY = BITS - 1, KEPT = BITS, TAIL = ES + KEPT + 1, SHIFTS = BITS - 2, ALL = 2 + TAIL + SHIFTS;
    if (nar) return UInt<BITS>(1 << (BITS - 1));
    if (magnitude == UInt<WIDTH>(0)) return UInt<BITS>(0);
    const Normalised<KEPT> top = normalised<KEPT>(magnitude);
    const int scale = top.place + exponent;
    int body = 0;
    if (scale >= last_scale) {
      body = (1 << BODY) - 1;
    } else if (scale < -last_scale) {
      body = 1;
    } else {
      const int regime = scale >> ES;
      const int power = scale & ((1 << ES) - 1);
      const UInt<TAIL> low = UInt<TAIL>(UInt<TAIL>(UInt<TAIL>(top.fraction) << 1) | UInt<TAIL>(top.more ? 1 : 0));
      const UInt<TAIL> tail = UInt<TAIL>(UInt<TAIL>(UInt<TAIL>(power) << (KEPT + 1)) | low);
      const Int<ALL> seed = Int<ALL>(regime >= 0 ? 2 : 1) << (TAIL + SHIFTS);
      const Int<ALL> start = Int<ALL>(seed | Int<ALL>(Int<ALL>(tail) << SHIFTS));
      const Int<ALL> pattern = start >> (regime >= 0 ? regime : -regime - 1);  // the sign bit runs on
      constexpr int CUT = ALL - BODY;
      body = UInt<BODY>(pattern >> CUT).to_int();
      const bool guard = pattern[CUT - 1];
      const bool more = UInt<CUT - 1>(pattern) != UInt<CUT - 1>(0);
      if (guard && (more || (body & 1))) ++body;
    }
    return UInt<BITS>(negative ? -body : body);
  }
};

}  // namespace tetrit

#endif
