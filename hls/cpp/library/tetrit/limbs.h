// Two's complement numbers of several 64-bit words, for the fallback's integers of more than 128 bits.
#ifndef TETRIT_LIMBS_H
#define TETRIT_LIMBS_H

#include <cstdint>
#include <type_traits>

namespace tetrit {
namespace detail {

template <int WORDS>
class Limbs {
 public:
  constexpr Limbs() : word_{} {}
  template <class T, class = std::enable_if_t<std::is_integral_v<T>>>
  constexpr Limbs(T value) : word_{} {
    word_[0] = std::uint64_t(value);
    fill(1, std::is_signed_v<T> && value < T(0));
  }
  __extension__ constexpr Limbs(__int128 value) : word_{} {
    word_[0] = std::uint64_t(value);
    word_[1] = std::uint64_t(value >> 64);
    fill(2, value < 0);
  }
  __extension__ constexpr Limbs(unsigned __int128 value) : word_{} {
    word_[0] = std::uint64_t(value);
    word_[1] = std::uint64_t(value >> 64);
  }
  template <int OTHER>
  constexpr Limbs(const Limbs<OTHER>& other) : word_{} {
    for (int i = 0; i < WORDS; ++i) word_[i] = other.word(i);
  }

  constexpr std::uint64_t word(int index) const {
    return index < WORDS ? word_[index] : negative() ? ~std::uint64_t(0) : 0;
  }
  constexpr bool negative() const { return word_[WORDS - 1] >> 63; }

  explicit constexpr operator std::int64_t() const { return std::int64_t(word_[0]); }
  explicit constexpr operator std::uint64_t() const { return word_[0]; }
  __extension__ explicit constexpr operator unsigned __int128() const {
    return (static_cast<unsigned __int128>(word_[1]) << 64) | word_[0];
  }
  __extension__ explicit constexpr operator __int128() const {
    return static_cast<__int128>(static_cast<unsigned __int128>(*this));
  }

  friend constexpr Limbs operator+(const Limbs& a, const Limbs& b) {
    Limbs out;
    std::uint64_t carry = 0;
    for (int i = 0; i < WORDS; ++i) {
      const std::uint64_t part = a.word_[i] + b.word_[i];
      out.word_[i] = part + carry;
      carry = (part < a.word_[i]) | (out.word_[i] < part);
    }
    return out;
  }
  friend constexpr Limbs operator-(const Limbs& a) {
    Limbs flipped;
    for (int i = 0; i < WORDS; ++i) flipped.word_[i] = ~a.word_[i];
    return flipped + Limbs(1);
  }
  friend constexpr Limbs operator&(const Limbs& a, const Limbs& b) {
    Limbs out;
    for (int i = 0; i < WORDS; ++i) out.word_[i] = a.word_[i] & b.word_[i];
    return out;
  }
  friend constexpr Limbs operator|(const Limbs& a, const Limbs& b) {
    Limbs out;
    for (int i = 0; i < WORDS; ++i) out.word_[i] = a.word_[i] | b.word_[i];
    return out;
  }
  friend constexpr bool operator==(const Limbs& a, const Limbs& b) {
    for (int i = 0; i < WORDS; ++i)
      if (a.word_[i] != b.word_[i]) return false;
    return true;
  }
  friend constexpr bool operator<(const Limbs& a, const Limbs& b) {
    if (a.negative() != b.negative()) return a.negative();
    for (int i = WORDS - 1; i >= 0; --i)
      if (a.word_[i] != b.word_[i]) return a.word_[i] < b.word_[i];
    return false;
  }
  constexpr Limbs operator<<(int count) const {
    Limbs out;
    const int whole = count / 64, part = count % 64;
    for (int i = WORDS - 1; i >= whole; --i) {
      out.word_[i] = word_[i - whole] << part;
      if (part && i > whole) out.word_[i] |= word_[i - whole - 1] >> (64 - part);
    }
    return out;
  }
  constexpr Limbs operator>>(int count) const { return right(count, negative() ? ~std::uint64_t(0) : 0); }
  constexpr Limbs logical_right(int count) const { return right(count, 0); }

 private:
  constexpr void fill(int first, bool negative) {
    for (int i = first; i < WORDS; ++i) word_[i] = negative ? ~std::uint64_t(0) : 0;
  }
  constexpr Limbs right(int count, std::uint64_t beyond) const {
    Limbs out;
    const int whole = count / 64, part = count % 64;
    for (int i = 0; i < WORDS; ++i) {
      const std::uint64_t low = i + whole < WORDS ? word_[i + whole] : beyond;
      const std::uint64_t high = i + whole + 1 < WORDS ? word_[i + whole + 1] : beyond;
      out.word_[i] = part ? (low >> part) | (high << (64 - part)) : low;
    }
    return out;
  }

  std::uint64_t word_[WORDS];
};

}  // namespace detail
}  // namespace tetrit

#endif
