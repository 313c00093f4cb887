"""Names that spell a codebook: they survive the way through text exactly, and bad ones are refused."""

import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit import formats
from tetrit.errors import InvalidValueError, UnknownNameError


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=256))
def test_a_name_gives_back_every_bit(values):
    name = formats.codebook_name(values)
    fmt = formats.get(name)
    assert fmt.name == name
    assert fmt.levels == formats.codebook(values).levels
    assert fmt.bits == formats.codebook(values).bits
    assert formats.get(fmt.name) == fmt
    assert pickle.loads(pickle.dumps(fmt)) == fmt


def test_a_name_is_one_spelling():
    assert formats.codebook_name(np.array([-0.0, 1, 0.1], np.float64)) == "codebook(0.0,1.0,0.1)"
    assert formats.get("codebook( 0,1,1e-1)").name == "codebook(0.0,1.0,0.1)"
    assert formats.codebook_name(np.array([0.1, 1.0], np.float32)) == "codebook(0.10000000149011612,1.0)"


def test_a_name_needs_no_registration():
    code = "from tetrit import formats; print(formats.get('codebook(-2.5,0.0,7.0)').decode([2, 0]).tolist())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[7.0, -2.5]\n"


def test_codebooks_are_not_listed():
    before = formats.names()
    formats.get("codebook(0.0,1.0)")
    assert formats.names() == before


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("codebook(1.0,x)", InvalidValueError, "values of a codebook's name must be numbers, got 'x'"),
        ("codebook()", InvalidValueError, "values of a codebook's name must be numbers, got ''"),
        ("codebook(1.0)", InvalidValueError, "`values` must be 2 to 256 numbers in one dimension, got shape (1,)"),
        ("codebook(0.0,nan)", InvalidValueError, "`values` must be finite, got nan at index (1,)"),
    ],
)
def test_bad_names(name, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        formats.get(name)


@pytest.mark.parametrize("name", ["codebook", "codebook(", "codebok(1.0,2.0)"])
def test_other_names_stay_unknown(name):
    with pytest.raises(UnknownNameError, match=f"^unknown format '{re.escape(name)}'; "):
        formats.get(name)


def test_a_codebook_has_no_symmetric_variant():
    text = "format 'codebook(0.0,1.0)' has no symmetric variant; only int2 to int16 have one"
    with pytest.raises(InvalidValueError, match="^" + re.escape(text) + "$"):
        formats.get("codebook(0.0,1.0)", symmetric=True)


@pytest.mark.parametrize("values", [[1.0], ["a", "b"]])
def test_no_name_for_no_codebook(values):
    with pytest.raises((TypeError, InvalidValueError), match=r"^`values` must"):
        formats.codebook_name(values)
