// Pools: the greatest, or the rounded mean, of what lies under a window, channel by channel.
#ifndef TETRIT_POOL_H
#define TETRIT_POOL_H

#include "finish.h"

namespace tetrit {

// Windows in, place by place with all channels of each; pixels out. One beat in each cycle.
template <class Pool>
void max_pool(stream<Beat<typename Pool::Value, Pool::lanes>>& in,
              stream<Beat<typename Pool::Value, Pool::lanes>>& out) {
  constexpr int LANES = Pool::lanes, BEATS = Pool::channels / LANES;
  Beat<typename Pool::Value, LANES> best[BEATS];

  for (int position = 0; position < Pool::positions; ++position) {
    for (int place = 0; place < Pool::places; ++place) {
      for (int beat = 0; beat < BEATS; ++beat) {
#pragma HLS PIPELINE II=1
        const Beat<typename Pool::Value, LANES> read = in.read();
        Beat<typename Pool::Value, LANES> found = read;
        for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
          if (place > 0 && read.at[lane] < best[beat].at[lane]) found.at[lane] = best[beat].at[lane];
        }
        best[beat] = found;
        if (place == Pool::places - 1) out.write(found);
      }
    }
  }
}

// The exact sum, padding as zeros, times multiplier / 2^shift
template <class Pool>
void average_pool(stream<Beat<typename Pool::Value, Pool::lanes>>& in,
                  stream<Beat<typename Pool::Out, Pool::lanes>>& out) {
  constexpr int LANES = Pool::lanes, BEATS = Pool::channels / LANES;
  constexpr int WIDE = Pool::sum_bits + Pool::multiplier_bits + 1;
  using Sum = Int<Pool::sum_bits>;
  Beat<Sum, LANES> sums[BEATS];

  for (int position = 0; position < Pool::positions; ++position) {
    for (int place = 0; place < Pool::places; ++place) {
      for (int beat = 0; beat < BEATS; ++beat) {
#pragma HLS PIPELINE II=1
        const Beat<typename Pool::Value, LANES> read = in.read();
        Beat<Sum, LANES> total;
        Beat<typename Pool::Out, LANES> mean;
        for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
          const Sum before = place == 0 ? Sum(0) : sums[beat].at[lane];
          total.at[lane] = Sum(before + Sum(read.at[lane]));
          const Int<WIDE> scaled = Int<WIDE>(total.at[lane] * Int<Pool::multiplier_bits + 1>(Pool::multiplier));
          mean.at[lane] = rounded<Pool::out_bits, false>(scaled, Pool::shift);
        }
        sums[beat] = total;
        if (place == Pool::places - 1) out.write(mean);
      }
    }
  }
}

}  // namespace tetrit

#endif
