// Value by value: branches that meet, and functions by table.
#ifndef TETRIT_POINTWISE_H
#define TETRIT_POINTWISE_H

#include "finish.h"

namespace tetrit {

namespace detail {

template <long long MULTIPLIER, int SUM_BITS, class Value, int LANES>
void add_scaled(Int<SUM_BITS> (&sums)[LANES], const Beat<Value, LANES>& beat) {
#pragma HLS INLINE
  for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
    sums[lane] = Int<SUM_BITS>(sums[lane] + Int<SUM_BITS>(beat.at[lane] * Int<32>(MULTIPLIER)));
  }
}

}  // namespace detail

// out = round((sum of MULTIPLIERS * inputs) / 2^shift), clipped: all branches at once, exactly, rounded once
template <class Join, long long... MULTIPLIERS, class... Values>
void add(stream<Beat<typename Join::Out, Join::lanes>>& out, stream<Beat<Values, Join::lanes>>&... in) {
  static_assert(sizeof...(MULTIPLIERS) == sizeof...(Values), "one multiplier a branch");
  for (int beat = 0; beat < Join::beats; ++beat) {
#pragma HLS PIPELINE II=1
    Int<Join::sum_bits> sums[Join::lanes];
    for (int lane = 0; lane < Join::lanes; ++lane) {
#pragma HLS UNROLL
      sums[lane] = 0;
    }
    (detail::add_scaled<MULTIPLIERS>(sums, in.read()), ...);
    Beat<typename Join::Out, Join::lanes> results;
    for (int lane = 0; lane < Join::lanes; ++lane) {
#pragma HLS UNROLL
      results.at[lane] = rounded<Join::out_bits, Join::relu>(sums[lane], Join::shift);
    }
    out.write(results);
  }
}

// The table is indexed by the integer's bits: first those of 0 and above, then those below. There is a copy for every
// two lanes, since a memory has two ports.
template <class Table, int COPIES, int ENTRIES>
void look_up(stream<Beat<typename Table::Value, Table::lanes>>& in,
             stream<Beat<typename Table::Out, Table::lanes>>& out,
             const typename Table::Out (&table)[COPIES][ENTRIES]) {
  static_assert(2 * COPIES >= Table::lanes, "a port for every lane");
#pragma HLS ARRAY_PARTITION variable=table complete dim=1
  for (int beat = 0; beat < Table::beats; ++beat) {
#pragma HLS PIPELINE II=1
    const Beat<typename Table::Value, Table::lanes> read = in.read();
    Beat<typename Table::Out, Table::lanes> results;
    for (int lane = 0; lane < Table::lanes; ++lane) {
#pragma HLS UNROLL
      results.at[lane] = table[lane / 2][UInt<Table::bits>(read.at[lane]).to_int()];
    }
    out.write(results);
  }
}

}  // namespace tetrit

#endif
