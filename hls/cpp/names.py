"""Names in C++: the authority for how names of layers and tensors become identifiers."""

__all__ = ["Names", "is_identifier"]

import re

_WORDS = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t class compl const
const_cast constexpr continue decltype default delete do double dynamic_cast else enum explicit export extern false
float for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private
protected public register reinterpret_cast return short signed sizeof static static_assert static_cast struct switch
template this thread_local throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t
while xor xor_eq std hls tetrit main
"""


def is_identifier(name: str) -> bool:
    """Whether a name can be given to a function: ASCII, no word of the language, nothing that compilers keep."""
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) is not None
    return plain and name not in _WORDS.split() and "__" not in name


class Names:
    """Identifiers that are all different.

    Parameters
    ----------
    *taken : str
        Those that exist already.

    Examples
    --------
    >>> from tetrit.hls.cpp.names import Names
    >>> names = Names("network")
    >>> names.new("layer1.0/conv"), names.new("3"), names.new("network"), names.new("int")
    ('layer1_0_conv', 'n3', 'network_2', 'int_2')
    """

    def __init__(self, *taken: str) -> None:
        self._taken = set(taken)

    def new(self, wanted: str) -> str:
        """Return an identifier that is as near to `wanted` as can be, and keep it."""
        plain = re.sub(r"[^A-Za-z0-9]+", "_", wanted).strip("_") or "n"
        if plain[0].isdigit():
            plain = f"n{plain}"
        name, count = plain, 1
        while name in self._taken or not is_identifier(name):
            count += 1
            name = f"{plain}_{count}"
        self._taken.add(name)
        return name
