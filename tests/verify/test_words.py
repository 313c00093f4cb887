"""Vectors as words, against a reference in plain integers."""

from hypothesis import given
from hypothesis import strategies as st

from tetrit.verify.words import pack_fields, to_words


def slow_words(vector, element_bits, word_bits, last):
    """One vector as a list of payload integers."""
    total = 0
    for position, element in enumerate(vector):
        total |= (element % 2**element_bits) << (position * element_bits)
    n_words = -(-len(vector) * element_bits // word_bits)
    words = [(total >> (index * word_bits)) % 2**word_bits for index in range(n_words)]
    words[-1] |= last << word_bits
    return words


@st.composite
def streams(draw):
    element_bits = draw(st.integers(1, 63))
    n_elements = draw(st.integers(1, 6))
    word_bits = draw(st.integers(1, 80))
    low = -(2 ** (element_bits - 1))
    element = st.integers(low, -low - 1)
    vectors = draw(st.lists(st.lists(element, min_size=n_elements, max_size=n_elements), min_size=1, max_size=4))
    last = draw(st.lists(st.booleans(), min_size=len(vectors), max_size=len(vectors)))
    return vectors, element_bits, word_bits, last


@given(streams())
def test_words_of_vectors(stream):
    vectors, element_bits, word_bits, last = stream
    expected = [w for v, flag in zip(vectors, last, strict=True) for w in slow_words(v, element_bits, word_bits, flag)]
    words = to_words(vectors, element_bits, word_bits, last)
    assert words.shape[1] == -(-(word_bits + 1) // 8)
    assert [int.from_bytes(row.tobytes(), "little") for row in words] == expected


@given(st.lists(st.tuples(st.integers(-8, 7), st.integers(0, 1), st.integers(0, 2**63 - 1)), min_size=1, max_size=5))
def test_words_of_structures(rows):
    signed, flag, wide = zip(*rows, strict=True)
    words = pack_fields([(signed, 4), (flag, 1), (wide, 63)])
    expected = [(s % 16) | f << 4 | w << 5 for s, f, w in rows]
    assert [int.from_bytes(row.tobytes(), "little") for row in words] == expected
