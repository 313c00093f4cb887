"""Addresses: no two boxes meet, everything that fits is found, and what does not is proven."""

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrit.hls.memory import packing
from tetrit.hls.memory.packing import Box, pack

from .reference import FRAGMENTED, fits

BOXES = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 4)).map(lambda b: Box(b[0], b[0] + b[1], b[2])),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("tries", [200, 0])
@settings(max_examples=60, deadline=None)
@given(boxes=BOXES, spare=st.integers(-1, 2))
def test_addresses_are_found_exactly_where_there_are_some(tries, boxes, spare):
    steps = max(box.stop for box in boxes) + 1
    height = max(sum(b.size for b in boxes if b.start <= s <= b.stop) for s in range(steps)) + spare
    addresses, proven = pack(boxes, height, math.inf, tries)
    assert proven
    assert (addresses is not None) == (height >= 0 and fits([(b.start, b.stop, b.size) for b in boxes], height))
    if addresses is not None:
        assert all(a >= 0 and a + b.size <= height for a, b in zip(addresses, boxes, strict=True))
        for i, a in enumerate(boxes):
            for j, b in enumerate(boxes[:i]):
                meet = a.start <= b.stop and b.start <= a.stop and a.size and b.size
                assert not meet or addresses[i] + a.size <= addresses[j] or addresses[j] + b.size <= addresses[i]


def test_what_fits_by_its_bytes_may_have_no_addresses():
    boxes = [Box(*stay) for stay in FRAGMENTED]
    assert pack(boxes, 4, math.inf) == (None, True)
    assert pack(boxes, 5, math.inf)[0] is not None


def test_the_search_finds_what_no_rule_does(monkeypatch):
    monkeypatch.setattr(packing, "_heuristic", lambda *_: None)
    addresses, proven = pack([Box(*stay) for stay in FRAGMENTED], 5, math.inf)
    assert addresses is not None
    assert proven


def test_the_search_gives_up_at_the_deadline_and_proves_nothing():
    boxes = [Box(s, s + d, 3 + (7 * s + d) % 5) for s in range(40) for d in (1, 4, 9)]
    height = max(sum(b.size for b in boxes if b.start <= s <= b.stop) for s in range(50))
    assert pack(boxes, height, time.monotonic() + 0.2) == (None, False)
