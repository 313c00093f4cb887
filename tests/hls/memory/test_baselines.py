"""Baselines: they hold under the replay, and nothing optimal is worse than they are."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tetrit.errors import InvalidValueError
from tetrit.hls.memory import Op, TensorGraph, arena, by_replacement, check_plan, minimum_peak, replacement_traffic

from .reference import graphs, orders


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(graph=graphs(most_ops=7, most_bytes=9), data=st.data())
def test_plans_of_baselines_hold(graph, data):
    order = data.draw(st.sampled_from([order for order, _ in zip(orders(graph), range(20), strict=False)]))
    peak = minimum_peak(graph)
    budget = data.draw(st.integers(graph.smallest_budget, peak.peak_bytes))
    for rule in ("belady", "fewest_bytes"):
        plan = by_replacement(graph, budget, order, rule)
        assert plan.order == tuple(graph.ops[index].name for index in order)
        check_plan(graph, plan, budget)
    whole = arena(graph, order)
    assert check_plan(graph, whole) == 0
    assert whole.peak_bytes >= peak.peak_bytes
    assert replacement_traffic(graph, whole.peak_bytes, order) == 0


def test_belady_evicts_what_is_needed_last():
    """`far` is needed after `near`; room is short of 2 bytes once."""
    ops = [
        Op("a", ["x"], ["s", "near", "far"]),
        Op("b", ["s"], ["big"]),
        Op("c", ["near", "big"], ["m"]),
        Op("d", ["far", "m"], ["y"]),
    ]
    graph = TensorGraph(ops, {"x": 1, "s": 2, "near": 2, "far": 2, "big": 3, "m": 1, "y": 1})
    plan = by_replacement(graph, 7)
    assert [move.tensor for move in plan.spills] == ["far"]
    assert plan.traffic_bytes == replacement_traffic(graph, 7) == 4


def test_the_arena_is_filled_by_size():
    """The largest lies at 0, those that meet it above it, in the order of their sizes."""
    ops = [Op("a", ["x"], ["p"]), Op("b", ["p"], ["q"]), Op("c", ["q"], ["y"])]
    plan = arena(TensorGraph(ops, {"x": 2, "p": 5, "q": 3, "y": 1}))
    assert plan.addresses == {"x": 5, "p": 0, "q": 5, "y": 0}
    assert plan.peak_bytes == 8


def test_errors():
    graph = TensorGraph([Op("a", ["x"], ["y"])], {"x": 2, "y": 1})
    for call in (by_replacement, replacement_traffic):
        with pytest.raises(InvalidValueError, match=r"^`budget_bytes` must be at least 3, what operator 'a' reads"):
            call(graph, 2)
    with pytest.raises(InvalidValueError, match=r"^unknown rule 'lru'"):
        by_replacement(graph, 3, rule="lru")
    chain = TensorGraph([Op("a", ["x"], ["p"]), Op("b", ["p"], ["y"])], {"x": 2, "p": 1, "y": 1})
    for call in (lambda order: by_replacement(chain, 3, order), lambda order: arena(chain, order)):
        with pytest.raises(InvalidValueError, match=r"^`order` must have 'b' behind what it needs$"):
            call([1, 0])
        with pytest.raises(InvalidValueError, match=r"^`order` must have the index of each of the 2 operators once$"):
            call([0, 0])
