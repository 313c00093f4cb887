// Windows over feature maps: rows wait in a line buffer, what lies under the kernel in registers.
#ifndef TETRIT_WINDOW_H
#define TETRIT_WINDOW_H

#include "stream.h"

namespace tetrit {

// Pixels in, row by row; for each position of the kernel, what lies under it out: group by group, and there kernel row,
// kernel column, channel. Padding is part of the loop. One padded pixel each INTERVAL cycles, the most beats that one
// of them reads or writes.
template <class Map>
void slide(stream<Beat<typename Map::Value, Map::lanes_in>>& in,
           stream<Beat<typename Map::Value, Map::lanes_out>>& out) {
  using Value = typename Map::Value;
  constexpr int CHANNELS = Map::channels, LANES_IN = Map::lanes_in, LANES_OUT = Map::lanes_out;
  constexpr int ROWS = Map::top + Map::height + Map::bottom, COLUMNS = Map::left + Map::width + Map::right;
  constexpr int REACH_Y = (Map::kernel_y - 1) * Map::dilation_y + 1;
  constexpr int REACH_X = (Map::kernel_x - 1) * Map::dilation_x + 1;
  constexpr int OWN = CHANNELS / Map::groups, K = Map::kernel_y * Map::kernel_x * OWN;
  constexpr int BEATS_IN = ceil_div(CHANNELS, LANES_IN), BEATS_OUT = ceil_div(K, LANES_OUT);
  [[maybe_unused]] constexpr int INTERVAL = greater(BEATS_IN, Map::groups * BEATS_OUT);
  constexpr int LINES = greater(REACH_Y - 1, 1);

  // Each place of a line is read and written once a row, and a row is longer than one pixel where there are several
  Value lines[LINES][COLUMNS][CHANNELS];
#pragma HLS ARRAY_PARTITION variable=lines complete dim=1
#pragma HLS ARRAY_PARTITION variable=lines complete dim=3
#pragma HLS DEPENDENCE variable=lines inter false
  Value under[REACH_Y][REACH_X][CHANNELS];
#pragma HLS ARRAY_PARTITION variable=under complete dim=0

  for (int y = 0; y < ROWS; ++y) {
    for (int x = 0; x < COLUMNS; ++x) {
#pragma HLS PIPELINE II=INTERVAL
      const bool inside = y >= Map::top && y < Map::top + Map::height && x >= Map::left && x < Map::left + Map::width;
      Value pixel[CHANNELS];
      for (int beat = 0; beat < BEATS_IN; ++beat) {
#pragma HLS UNROLL
        Beat<Value, LANES_IN> read;
        if (inside) read = in.read();
        for (int lane = 0; lane < LANES_IN; ++lane) {
#pragma HLS UNROLL
          if (beat * LANES_IN + lane < CHANNELS) {
            pixel[beat * LANES_IN + lane] = inside ? read.at[lane] : Value(Map::padding);
          }
        }
      }
      for (int row = 0; row < REACH_Y; ++row) {
#pragma HLS UNROLL
        for (int c = 0; c < CHANNELS; ++c) {
#pragma HLS UNROLL
          const Value next = row == REACH_Y - 1 ? pixel[c] : lines[row < LINES ? row : 0][x][c];
          for (int column = 0; column < REACH_X - 1; ++column) {
#pragma HLS UNROLL
            under[row][column][c] = under[row][column + 1][c];
          }
          under[row][REACH_X - 1][c] = next;
          if (row > 0) lines[row - 1][x][c] = next;
        }
      }
      const int below = y - (REACH_Y - 1), beside = x - (REACH_X - 1);
      if (below >= 0 && beside >= 0 && below % Map::stride_y == 0 && beside % Map::stride_x == 0) {
        for (int group = 0; group < Map::groups; ++group) {
#pragma HLS UNROLL
          for (int beat = 0; beat < BEATS_OUT; ++beat) {
#pragma HLS UNROLL
            Beat<Value, LANES_OUT> written;
            for (int lane = 0; lane < LANES_OUT; ++lane) {
#pragma HLS UNROLL
              const int k = beat * LANES_OUT + lane;
              const int place = k < K ? k / OWN : 0, c = k < K ? k % OWN : 0;
              written.at[lane] = under[place / Map::kernel_x * Map::dilation_y][place % Map::kernel_x * Map::dilation_x]
                                      [group * OWN + c];
            }
            out.write(written);
          }
        }
      }
    }
  }
}

}  // namespace tetrit

#endif
