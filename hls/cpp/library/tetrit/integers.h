// Integers of any width: the vendor's under a synthesis tool or with TETRIT_AP_TYPES, else a subset of them of our own.
//
// Both mean the same, as far as this library goes: two's complement, assignment wraps, a product is as wide as both
// factors together, sums and shifts are taken in one width that is spelled out.
#ifndef TETRIT_INTEGERS_H
#define TETRIT_INTEGERS_H

#if defined(__VITIS_HLS__) || defined(__SYNTHESIS__) || defined(__BAMBU__)
#ifndef TETRIT_AP_TYPES
#define TETRIT_AP_TYPES
#endif
#endif

#ifdef TETRIT_AP_TYPES
#include <ap_fixed.h>
#include <ap_int.h>
#else
#include <cstdint>
#include <type_traits>

#include "limbs.h"
#endif

namespace tetrit {

#ifdef TETRIT_AP_TYPES

template <int BITS>
using Int = ap_int<BITS>;
template <int BITS>
using UInt = ap_uint<BITS>;

// A fixed-point number of BITS bits, WHOLE of them before the binary point
template <int BITS, int WHOLE>
using Fixed = ap_fixed<BITS, WHOLE>;

template <int BITS, int WHOLE>
Fixed<BITS, WHOLE> fixed_of(const Int<BITS>& bits) {
  Fixed<BITS, WHOLE> value = 0;
  value.range(BITS - 1, 0) = bits.range(BITS - 1, 0);
  return value;
}

template <int BITS, int WHOLE>
Int<BITS> bits_of(const Fixed<BITS, WHOLE>& value) {
  return Int<BITS>(value.range(BITS - 1, 0));
}

#else

namespace detail {

// What holds an integer: a machine word, two of them, or an array of words
template <int BITS, bool SIGNED>
struct Storage {
  __extension__ typedef __int128 Two;
  __extension__ typedef unsigned __int128 UnsignedTwo;
  using One = std::conditional_t<SIGNED, std::int64_t, std::uint64_t>;
  using Many = Limbs<BITS / 64 + 1>;
  using Raw = std::conditional_t<(BITS <= 64), One,
                                 std::conditional_t<(BITS <= 128), std::conditional_t<SIGNED, Two, UnsignedTwo>, Many>>;
  static constexpr int width = BITS <= 64 ? 64 : BITS <= 128 ? 128 : 64 * (BITS / 64 + 1);
};

}  // namespace detail

template <int BITS, bool SIGNED>
class Integer {
  static_assert(BITS >= 1, "an integer has at least one bit");

 public:
  using Raw = typename detail::Storage<BITS, SIGNED>::Raw;

  constexpr Integer() : raw_(0) {}
  template <class T, class = std::enable_if_t<std::is_integral_v<T>>>
  constexpr Integer(T value) : raw_(wrapped(Raw(value))) {}
  template <int OTHER, bool S>
  constexpr Integer(const Integer<OTHER, S>& other) : raw_(wrapped(Raw(other.raw()))) {}

  static constexpr Integer of_raw(const Raw& raw) {
    Integer made;
    made.raw_ = wrapped(raw);
    return made;
  }
  constexpr const Raw& raw() const { return raw_; }

  constexpr int to_int() const { return int(to_int64()); }
  constexpr std::int64_t to_int64() const { return std::int64_t(raw_); }
  constexpr std::uint64_t to_uint64() const { return std::uint64_t(std::int64_t(raw_)); }

  friend constexpr Integer operator+(const Integer& a, const Integer& b) { return of_raw(sum(a.raw_, b.raw_)); }
  friend constexpr Integer operator-(const Integer& a, const Integer& b) { return a + -b; }
  friend constexpr Integer operator-(const Integer& a) { return of_raw(negated(a.raw_)); }
  friend constexpr Integer operator&(const Integer& a, const Integer& b) { return of_raw(a.raw_ & b.raw_); }
  friend constexpr Integer operator|(const Integer& a, const Integer& b) { return of_raw(a.raw_ | b.raw_); }
  friend constexpr bool operator==(const Integer& a, const Integer& b) { return a.raw_ == b.raw_; }
  friend constexpr bool operator!=(const Integer& a, const Integer& b) { return !(a.raw_ == b.raw_); }
  friend constexpr bool operator<(const Integer& a, const Integer& b) { return a.raw_ < b.raw_; }

  // Counts may exceed the width, as in the vendor's types: then all bits are the sign's, or zero
  constexpr Integer operator<<(int count) const {
    return count >= BITS ? Integer() : of_raw(left(raw_, count));
  }
  constexpr Integer operator>>(int count) const {
    constexpr int most = detail::Storage<BITS, SIGNED>::width - 1;
    if (!SIGNED && count >= BITS) return Integer();
    return of_raw(raw_ >> (count > most ? most : count));
  }
  constexpr bool operator[](int bit) const { return ((raw_ >> bit) & Raw(1)) == Raw(1); }

 private:
  static constexpr bool words = BITS > 128;

  static constexpr Raw wrapped(const Raw& raw) {
    constexpr int spare = detail::Storage<BITS, SIGNED>::width - BITS;
    if constexpr (spare == 0) {
      return raw;
    } else if constexpr (SIGNED) {
      return left(raw, spare) >> spare;
    } else if constexpr (words) {
      return left(raw, spare).logical_right(spare);
    } else {
      return left(raw, spare) >> spare;
    }
  }
  // Signed overflow is undefined in C++: these go through unsigned words
  static constexpr Raw sum(const Raw& a, const Raw& b) {
    if constexpr (words) {
      return a + b;
    } else {
      using U = typename detail::Storage<BITS, false>::Raw;
      return Raw(U(a) + U(b));
    }
  }
  static constexpr Raw negated(const Raw& a) {
    if constexpr (words) {
      return -a;
    } else {
      using U = typename detail::Storage<BITS, false>::Raw;
      return Raw(U(0) - U(a));
    }
  }
  static constexpr Raw left(const Raw& a, int count) {
    if constexpr (words) {
      return a << count;
    } else {
      using U = typename detail::Storage<BITS, false>::Raw;
      return Raw(U(a) << count);
    }
  }

  Raw raw_;
};

template <int BITS>
using Int = Integer<BITS, true>;
template <int BITS>
using UInt = Integer<BITS, false>;

template <int A, bool SA, int B, bool SB>
constexpr Integer<A + B, SA || SB> operator*(const Integer<A, SA>& a, const Integer<B, SB>& b) {
  static_assert(A + B <= 128, "products of more than 128 bits are not among what this library needs");
  using Product = Integer<A + B, SA || SB>;
  using Raw = typename Product::Raw;
  return Product::of_raw(Raw(a.raw()) * Raw(b.raw()));
}

template <int BITS, int WHOLE>
class Fixed {
 public:
  constexpr Fixed() = default;
  static constexpr Fixed of_bits(const Int<BITS>& bits) {
    Fixed made;
    made.bits_ = bits;
    return made;
  }
  constexpr const Int<BITS>& bits() const { return bits_; }
  friend constexpr Fixed operator+(const Fixed& a, const Fixed& b) { return of_bits(a.bits_ + b.bits_); }

 private:
  Int<BITS> bits_;
};

template <int BITS, int WHOLE>
constexpr Fixed<BITS, WHOLE> fixed_of(const Int<BITS>& bits) {
  return Fixed<BITS, WHOLE>::of_bits(bits);
}

template <int BITS, int WHOLE>
constexpr Int<BITS> bits_of(const Fixed<BITS, WHOLE>& value) {
  return value.bits();
}

#endif

// A wide constant out of 64-bit words, lowest first, the last one signed
template <int BITS, int WORDS>
Int<BITS> joined(const UInt<64> (&words)[WORDS]) {
#pragma HLS INLINE
  Int<BITS> value = Int<BITS>(Int<64>(words[WORDS - 1]));
  for (int i = WORDS - 2; i >= 0; --i) {
#pragma HLS UNROLL
    value = Int<BITS>(Int<BITS>(value << 64) | Int<BITS>(words[i]));
  }
  return value;
}

template <int BITS>
Int<BITS> negated_if(bool negative, const Int<BITS>& value) {
#pragma HLS INLINE
  return negative ? Int<BITS>(-value) : value;
}

constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }
constexpr int greater(int a, int b) { return a > b ? a : b; }

}  // namespace tetrit

#endif
