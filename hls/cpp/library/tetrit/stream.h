// First in, first out between layers: the vendor's hls::stream, or one of our own that catches what would hang.
#ifndef TETRIT_STREAM_H
#define TETRIT_STREAM_H

#include "integers.h"

#ifdef TETRIT_AP_TYPES
#include <hls_stream.h>
#else
#include <cstdio>
#include <cstdlib>
#include <deque>
#endif

namespace tetrit {

// What moves in one cycle: neighbouring values of a pixel or of a vector
template <class Value, int LANES>
struct Beat {
  Value at[LANES];
};

#ifdef TETRIT_AP_TYPES

template <class T>
using stream = hls::stream<T>;

#else

template <class T>
class stream {
 public:
  explicit stream(const char* name = "stream") : name_(name) {}
  stream(const stream&) = delete;
  stream& operator=(const stream&) = delete;
  ~stream() {
    if (!waiting_.empty()) fail("is left with data in it");
  }

  bool empty() const { return waiting_.empty(); }
  void write(const T& value) { waiting_.push_back(value); }
  T read() {
    if (waiting_.empty()) fail("is read while empty");
    const T value = waiting_.front();
    waiting_.pop_front();
    return value;
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    std::fprintf(stderr, "stream '%s' %s\n", name_, what);
    std::abort();
  }

  const char* name_;
  std::deque<T> waiting_;
};

#endif

}  // namespace tetrit

#endif
