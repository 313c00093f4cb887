"""How wide an exact accumulator of products must be; the one place where this is worked out."""

__all__ = ["accumulator_bits"]

from tetrit.checks import integer
from tetrit.formats.base import Format
from tetrit.formats.registry import get


def accumulator_bits(a: Format | str, b: Format | str, n_terms: int) -> int:
    """Return the width of the narrowest two's complement integer that holds every sum of `n_terms` exact products.

    Sums of fewer terms fit as well. Its unit is the product of both formats' units, ``2**(a.lsb_exponent +
    b.lsb_exponent)``. Infinities and NaN are left out; they need flags of their own. For complex formats it is the
    width of either part.

    Parameters
    ----------
    a, b : Format or str
        Formats of the two factors.
    n_terms : int
        Number of products.

    Returns
    -------
    int

    Raises
    ------
    TypeError
        If `a` or `b` is neither a format nor a name, or `n_terms` is no integer.
    InvalidValueError
        If there is no format of that name, `n_terms` is not positive, or a format has no exact integers behind its
        values (`post4`).

    Examples
    --------
    >>> from tetrit import formats
    >>> formats.accumulator_bits("int8", "szt", 256)
    17
    """
    n_terms = integer("n_terms", n_terms)
    ends = [_format(argument, f).integer_range for argument, f in (("a", a), ("b", b))]
    products = [x * y for x in ends[0] for y in ends[1]]
    low, high = min(0, n_terms * min(products)), max(0, n_terms * max(products))
    # -2**(w - 1) <= low and high < 2**(w - 1)
    return max((-low - 1).bit_length() if low else 0, high.bit_length()) + 1


def _format(argument: str, given: Format | str) -> Format:
    if isinstance(given, str):
        return get(given)
    if not isinstance(given, Format):
        raise TypeError(f"`{argument}` must be a format or the name of one, got {given!r}")
    return given
