// Matrix products, folded in time: TILE_N sums of TILE_K products each cycle, in fully connected layers and under the
// windows of convolutions.
#ifndef TETRIT_PRODUCT_H
#define TETRIT_PRODUCT_H

#include "formats.h"
#include "stream.h"

namespace tetrit {

// Products of integers with decoded weights. Powers of two select, negate and shift; only what is left multiplies.
template <class Activation, class Weight, int SUM_BITS>
struct IntegerProducts {
  using Value = Activation;
  using Code = UInt<Weight::bits>;
  using Sum = Int<SUM_BITS>;

  static Value decoded(const Value& x) { return x; }

  static Sum zero() { return Sum(0); }

  static Sum added(const Sum& sum, const Value& x, const Code& code) {
#pragma HLS INLINE
    if constexpr (IsInteger<Weight>::value) {
      return Sum(sum + Sum(x * Weight::integer(code)));
    } else if constexpr (Weight::significand_bits == 1) {
      const auto w = Weight::decode(code);
      const Sum shifted = Sum(x) << w.shift;
      const Sum chosen = w.significand == UInt<1>(0) ? Sum(0) : shifted;
      return Sum(sum + negated_if(w.negative, chosen));
    } else {
      const auto w = Weight::decode(code);
      const Sum product = Sum(x * w.significand);
      return Sum(sum + negated_if(w.negative, Sum(product << w.shift)));
    }
  }
};

// An exact sum of products of floats or posits: a fixed-point number, and whether a NaR went in
template <int BITS, int FRACTION>
struct Quire {
  using Number = Fixed<BITS, BITS - FRACTION>;
  Number value;
  bool nar;
};

// Products of codes with codes: significands multiply, or nothing does where both are powers of two; the product is
// shifted to its place in the quire.
template <class Activation, class Weight, int QUIRE_BITS, int FRACTION>
struct CodeProducts {
  using Value = UInt<Activation::bits>;
  using Code = UInt<Weight::bits>;
  using Sum = Quire<QUIRE_BITS, FRACTION>;

  static Decoded<Activation::significand_bits> decoded(const Value& x) {
#pragma HLS INLINE
    return Activation::decode(x);
  }

  static Sum zero() {
#pragma HLS INLINE
    return {fixed_of<QUIRE_BITS, QUIRE_BITS - FRACTION>(Int<QUIRE_BITS>(0)), false};
  }

  static Sum added(const Sum& sum, const Decoded<Activation::significand_bits>& x, const Code& code) {
#pragma HLS INLINE
    constexpr int BITS = Activation::significand_bits + Weight::significand_bits;
    const Decoded<Weight::significand_bits> w = Weight::decode(code);
    UInt<BITS> significand = 0;
    if constexpr (Activation::significand_bits == 1) {
      significand = x.significand == UInt<1>(0) ? UInt<BITS>(0) : UInt<BITS>(w.significand);
    } else if constexpr (Weight::significand_bits == 1) {
      significand = w.significand == UInt<1>(0) ? UInt<BITS>(0) : UInt<BITS>(x.significand);
    } else {
      significand = UInt<BITS>(x.significand * w.significand);
    }
    const Int<QUIRE_BITS> placed = Int<QUIRE_BITS>(significand) << (x.shift + w.shift);
    const auto term = fixed_of<QUIRE_BITS, QUIRE_BITS - FRACTION>(negated_if(x.negative != w.negative, placed));
    return {typename Sum::Number(sum.value + term), sum.nar || x.nar};
  }
};

// One code out of packed words
template <int BITS, int WORD_BITS, int WORDS>
UInt<BITS> unpacked(const UInt<WORD_BITS> (&words)[WORDS], int index) {
#pragma HLS INLINE
  constexpr int PER_WORD = WORD_BITS / BITS;
  return UInt<BITS>(words[index / PER_WORD] >> (index % PER_WORD * BITS));
}

// Vectors in, vectors out. `Layer` says the sizes; row g * steps_n + n of the constants belongs to output tile n of
// group g. Inputs come in beats of tile_k values and are kept for the output tiles after the first; outputs go in
// beats of tile_n. One step a cycle: vectors * groups * steps_n * steps_k of them.
template <class Layer, int WORD_BITS, int WORDS, class... Constants>
void product(stream<Beat<typename Layer::Products::Value, Layer::tile_k>>& in,
             stream<Beat<typename Layer::Out, Layer::tile_n>>& out,
             const UInt<WORD_BITS> (&weights)[Layer::groups * ceil_div(Layer::n, Layer::tile_n) *
                                              ceil_div(Layer::k, Layer::tile_k)][WORDS],
             const Constants&... constants) {
  using Products = typename Layer::Products;
  using Input = Beat<typename Products::Value, Layer::tile_k>;
  using Output = Beat<typename Layer::Out, Layer::tile_n>;
  using Sum = typename Products::Sum;
  constexpr int TILE_K = Layer::tile_k, TILE_N = Layer::tile_n;
  constexpr int STEPS_K = ceil_div(Layer::k, TILE_K), STEPS_N = ceil_div(Layer::n, TILE_N);

  Input kept[STEPS_K];
  Sum sums[TILE_N];
#pragma HLS ARRAY_PARTITION variable=sums complete

  for (int vector = 0; vector < Layer::vectors; ++vector) {
    for (int group = 0; group < Layer::groups; ++group) {
      for (int step_n = 0; step_n < STEPS_N; ++step_n) {
        for (int step_k = 0; step_k < STEPS_K; ++step_k) {
#pragma HLS PIPELINE II=1
          Input beat;
          if (step_n == 0) {
            beat = in.read();
            kept[step_k] = beat;
          } else {
            beat = kept[step_k];
          }
          const int tile = group * STEPS_N + step_n;
          for (int n = 0; n < TILE_N; ++n) {
#pragma HLS UNROLL
            Sum sum = step_k == 0 ? Products::zero() : sums[n];
            for (int k = 0; k < TILE_K; ++k) {
#pragma HLS UNROLL
              if (Layer::k % TILE_K == 0 || step_k * TILE_K + k < Layer::k) {
                const auto code = unpacked<Layer::Weight::bits>(weights[tile * STEPS_K + step_k], n * TILE_K + k);
                sum = Products::added(sum, Products::decoded(beat.at[k]), code);
              }
            }
            sums[n] = sum;
          }
          if (step_k == STEPS_K - 1) {
            Output results;
            for (int n = 0; n < TILE_N; ++n) {
#pragma HLS UNROLL
              results.at[n] = Layer::Finish::apply(sums[n], tile, n, constants...);
            }
            out.write(results);
          }
        }
      }
    }
  }
}

}  // namespace tetrit

#endif
