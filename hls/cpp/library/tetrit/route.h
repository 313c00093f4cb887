// Streams led from layer to layer: other widths, forks, concatenation, and arrays at the edge.
#ifndef TETRIT_ROUTE_H
#define TETRIT_ROUTE_H

#include "stream.h"

namespace tetrit {

// Groups of COUNT values each, in beats of WIDE lanes, cut into beats of NARROW lanes, a divisor
template <class Value, int GROUPS, int COUNT, int WIDE, int NARROW>
void narrow(stream<Beat<Value, WIDE>>& in, stream<Beat<Value, NARROW>>& out) {
  static_assert(WIDE % NARROW == 0, "lanes must divide");
  constexpr int RATIO = WIDE / NARROW, BEATS = ceil_div(COUNT, NARROW);
  Beat<Value, WIDE> held;
  for (int group = 0; group < GROUPS; ++group) {
    for (int beat = 0; beat < BEATS; ++beat) {
#pragma HLS PIPELINE II=1
      const int part = beat % RATIO;
      if (part == 0) held = in.read();
      Beat<Value, NARROW> written;
      for (int lane = 0; lane < NARROW; ++lane) {
#pragma HLS UNROLL
        written.at[lane] = held.at[part * NARROW + lane];
      }
      out.write(written);
    }
  }
}

// The other way round
template <class Value, int GROUPS, int COUNT, int NARROW, int WIDE>
void widen(stream<Beat<Value, NARROW>>& in, stream<Beat<Value, WIDE>>& out) {
  static_assert(WIDE % NARROW == 0, "lanes must divide");
  constexpr int RATIO = WIDE / NARROW, BEATS = ceil_div(COUNT, NARROW);
  Beat<Value, WIDE> held;
  for (int lane = 0; lane < WIDE; ++lane) {
#pragma HLS UNROLL
    held.at[lane] = 0;
  }
  for (int group = 0; group < GROUPS; ++group) {
    for (int beat = 0; beat < BEATS; ++beat) {
#pragma HLS PIPELINE II=1
      const int part = beat % RATIO;
      const Beat<Value, NARROW> read = in.read();
      for (int lane = 0; lane < NARROW; ++lane) {
#pragma HLS UNROLL
        held.at[part * NARROW + lane] = read.at[lane];
      }
      if (part == RATIO - 1 || beat == BEATS - 1) out.write(held);
    }
  }
}

// The same beats to several takers
template <int BEATS, class T, class... Streams>
void fork(stream<T>& in, Streams&... out) {
  for (int beat = 0; beat < BEATS; ++beat) {
#pragma HLS PIPELINE II=1
    const T read = in.read();
    (out.write(read), ...);
  }
}

// FIRST beats of one stream, then SECOND of the other, GROUPS times
template <int GROUPS, int FIRST, int SECOND, class T>
void concatenate(stream<T>& first, stream<T>& second, stream<T>& out) {
  for (int group = 0; group < GROUPS; ++group) {
    for (int beat = 0; beat < FIRST + SECOND; ++beat) {
#pragma HLS PIPELINE II=1
      if (beat < FIRST) {
        out.write(first.read());
      } else {
        out.write(second.read());
      }
    }
  }
}

// GROUPS groups of COUNT values of an array, in beats
template <int GROUPS, int COUNT, class Value, int LANES>
void load(const Value array[GROUPS * COUNT], stream<Beat<Value, LANES>>& out) {
  for (int group = 0; group < GROUPS; ++group) {
    for (int beat = 0; beat < ceil_div(COUNT, LANES); ++beat) {
#pragma HLS PIPELINE II=1
      Beat<Value, LANES> written;
      for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        const int place = beat * LANES + lane;
        written.at[lane] = place < COUNT ? array[group * COUNT + place] : Value(0);
      }
      out.write(written);
    }
  }
}

template <int GROUPS, int COUNT, class Value, int LANES>
void store(stream<Beat<Value, LANES>>& in, Value array[GROUPS * COUNT]) {
  for (int group = 0; group < GROUPS; ++group) {
    for (int beat = 0; beat < ceil_div(COUNT, LANES); ++beat) {
#pragma HLS PIPELINE II=1
      const Beat<Value, LANES> read = in.read();
      for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        const int place = beat * LANES + lane;
        if (place < COUNT) array[group * COUNT + place] = read.at[lane];
      }
    }
  }
}

}  // namespace tetrit

#endif
