// What follows a sum: bias, ReLU, and the one rounding into the next layer's format.
#ifndef TETRIT_FINISH_H
#define TETRIT_FINISH_H

#include "product.h"

namespace tetrit {

template <int OUT_BITS, bool RELU, int BITS>
Int<OUT_BITS> clipped(const Int<BITS>& value) {
#pragma HLS INLINE
  constexpr int WIDTH = greater(BITS, OUT_BITS) + 1;
  const Int<WIDTH> wide = value;
  const Int<WIDTH> high = Int<WIDTH>(Int<WIDTH>(Int<WIDTH>(1) << (OUT_BITS - 1)) - Int<WIDTH>(1));
  const Int<WIDTH> low = RELU ? Int<WIDTH>(0) : Int<WIDTH>(-Int<WIDTH>(Int<WIDTH>(1) << (OUT_BITS - 1)));
  if (wide < low) return Int<OUT_BITS>(low);
  if (high < wide) return Int<OUT_BITS>(high);
  return Int<OUT_BITS>(wide);
}

// floor((value + 2^(shift - 1)) / 2^shift), clipped; shift is at least 1
template <int OUT_BITS, bool RELU, int BITS>
Int<OUT_BITS> rounded(const Int<BITS>& value, int shift) {
#pragma HLS INLINE
  const Int<BITS + 1> half = Int<BITS + 1>(value) >> (shift - 1);
  const Int<BITS + 1> up = Int<BITS + 1>(half + Int<BITS + 1>(1));
  return clipped<OUT_BITS, RELU>(Int<BITS + 1>(up >> 1));
}

// Dyadic requantisation (HAWQ-V3): times multiplier / 2^shift
template <int OUT_BITS, bool RELU>
struct Requantise {
  template <int SUM_BITS, int ROWS, int LANES, int BIAS_BITS, int MULTIPLIER_BITS, int SHIFT_BITS>
  static Int<OUT_BITS> apply(const Int<SUM_BITS>& sum, int row, int lane, const Int<BIAS_BITS> (&bias)[ROWS][LANES],
                             const UInt<MULTIPLIER_BITS> (&multiplier)[ROWS][LANES],
                             const UInt<SHIFT_BITS> (&shift)[ROWS][LANES]) {
#pragma HLS INLINE
    constexpr int WIDE = SUM_BITS + MULTIPLIER_BITS + 1;
    const Int<SUM_BITS> total = Int<SUM_BITS>(sum + Int<SUM_BITS>(bias[row][lane]));
    const Int<WIDE> product = Int<WIDE>(total * Int<MULTIPLIER_BITS + 1>(multiplier[row][lane]));
    return rounded<OUT_BITS, RELU>(product, shift[row][lane].to_int());
  }
};

// The sum as it is
template <int OUT_BITS, bool RELU>
struct Keep {
  template <int SUM_BITS, int ROWS, int LANES, int BIAS_BITS>
  static Int<OUT_BITS> apply(const Int<SUM_BITS>& sum, int row, int lane, const Int<BIAS_BITS> (&bias)[ROWS][LANES]) {
#pragma HLS INLINE
    const Int<SUM_BITS> total = Int<SUM_BITS>(sum + Int<SUM_BITS>(bias[row][lane]));
    return Int<OUT_BITS>(RELU && total < Int<SUM_BITS>(0) ? Int<SUM_BITS>(0) : total);
  }
};

// A quire read out: 2^shift * (sum + bias), rounded once into a code of Format. The unit of the sum is 2^-FRACTION.
template <class Format, bool RELU>
struct Encode {
  template <int BITS, int FRACTION, int ROWS, int LANES, int WORDS, int SHIFT_BITS>
  static UInt<Format::bits> apply(const Quire<BITS, FRACTION>& sum, int row, int lane,
                                  const UInt<64> (&bias)[ROWS][LANES][WORDS],
                                  const Int<SHIFT_BITS> (&shift)[ROWS][LANES]) {
#pragma HLS INLINE
    const auto start = fixed_of<BITS, BITS - FRACTION>(joined<BITS>(bias[row][lane]));
    const Int<BITS> total = bits_of<BITS, BITS - FRACTION>(typename Quire<BITS, FRACTION>::Number(sum.value + start));
    const bool negative = total[BITS - 1];
    const UInt<BITS> magnitude = RELU && negative ? UInt<BITS>(0) : UInt<BITS>(negated_if(negative, total));
    return Format::encode(negative, magnitude, shift[row][lane].to_int() - FRACTION, sum.nar);
  }
};

}  // namespace tetrit

#endif
