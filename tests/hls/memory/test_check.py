"""The replay: plans that are broken on purpose, each in one way, and each is caught for that."""

from dataclasses import replace

import pytest

from tetrit.errors import InvalidValueError
from tetrit.hls.memory import Move, Op, Stay, TensorGraph, by_replacement, check_plan, plan_memory

GRAPH = TensorGraph(
    [Op("a", ["x"], ["p"]), Op("b", ["p"], ["q"]), Op("c", ["q"], ["r"]), Op("d", ["p", "r"], ["y"])],
    {"x": 1, "p": 2, "q": 4, "r": 4, "y": 1},
)
PLAN = plan_memory(GRAPH, 8)


def with_stay(tensor, place=0, /, **changes):
    """Return the plan with one stay of a tensor changed."""
    stay = [stay for stay in PLAN.stays if stay.tensor == tensor][place]
    return replace(PLAN, stays=tuple(replace(s, **changes) if s is stay else s for s in PLAN.stays))


def without_stay(tensor, place):
    stay = [stay for stay in PLAN.stays if stay.tensor == tensor][place]
    return replace(PLAN, stays=tuple(s for s in PLAN.stays if s is not stay))


def test_the_plan_itself_passes():
    assert check_plan(GRAPH, PLAN, 8) == check_plan(GRAPH, PLAN) == 4
    assert [(s.tensor, s.start, s.stop) for s in PLAN.stays if s.tensor == "p"] == [("p", 0, 1), ("p", 3, 3)]


q_at = next(stay.address for stay in PLAN.stays if stay.tensor == "q")
p_at = next(stay.address for stay in PLAN.stays if stay.tensor == "p")


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (replace(PLAN, order=("a", "b", "c")), r"^the plan never runs 'd'$"),
        (replace(PLAN, order=("a", "b", "c", "c")), r"^the plan runs 'c' twice$"),
        (replace(PLAN, order=("a", "b", "c", "e")), r"^the plan runs 'e', which is no operator of the graph$"),
        (replace(PLAN, order=("b", "a", "c", "d")), r"^step 0: the plan keeps 'p' before it is made$"),
        (replace(PLAN, order=("a", "c", "b", "d")), r"^step 1: the plan keeps 'q' before it is made$"),
        (with_stay("q", address=p_at), r"^step 1: 'q' lies over 'p'$"),
        (with_stay("q", address=5), r"^the plan keeps 'q' at bytes 5 to 8, outside the 8 of the scratchpad$"),
        (with_stay("q", address=-1), r"^the plan keeps 'q' at bytes -1 to 2, outside the 8 of the scratchpad$"),
        (without_stay("p", 1), r"^step 3: 'd' needs 'p', which is absent$"),
        (without_stay("x", 0), r"^step 0: 'a' needs 'x', which is absent$"),
        (without_stay("y", 0), r"^step 3: 'd' needs 'y', which is absent$"),
        (with_stay("q", stop=1), r"^step 2: 'c' needs 'q', which is absent$"),
        (with_stay("y", start=4, stop=4), r"^the plan keeps 'y' from step 4 to step 4$"),
        (with_stay("y", stop=2), r"^the plan keeps 'y' from step 3 to step 2$"),
        (with_stay("p", 1, start=1), r"^step 1: the plan keeps 'p' twice at a time$"),
        (with_stay("y", tensor="z"), r"^the plan keeps 'z', which is no tensor of the graph$"),
        (replace(PLAN, traffic_bytes=2), r"^the plan's `traffic_bytes` are not those of its stays: 2 instead of 4$"),
        (replace(PLAN, peak_bytes=7), r"^the plan's `peak_bytes` are not those of its stays: 7 instead of 8$"),
        (replace(PLAN, spills=()), r"^the plan's `spills` are not those of its stays: \[\] instead of \[Move"),
        (
            replace(PLAN, fetches=(Move(2, "p", 2),)),
            r"^the plan's `fetches` are not those of its stays: \[Move\(step=2",
        ),
        (replace(PLAN, addresses={**PLAN.addresses, "p": 7}), r"^the plan's `addresses` are not those of its stays: "),
    ],
)
def test_broken_plans_are_caught(plan, message):
    with pytest.raises(InvalidValueError, match=message):
        check_plan(GRAPH, plan, 8)


def test_a_budget_below_the_plans_own_is_caught():
    with pytest.raises(InvalidValueError, match=r"outside the 7 of the scratchpad$"):
        check_plan(GRAPH, PLAN, 7)


def test_a_tensor_that_is_there_before_its_operator_runs_is_caught():
    graph = TensorGraph([Op("a", ["x"], ["p"]), Op("b", ["p"], ["y"])], {"x": 1, "p": 1, "y": 1})
    plan = plan_memory(graph, 3)
    free = min({0, 1, 2} - {s.address for s in plan.stays if s.tensor != "y"})
    early = tuple(replace(s, start=0, address=free) if s.tensor == "y" else s for s in plan.stays)
    with pytest.raises(InvalidValueError, match=r"^step 0: the plan keeps 'y' before it is made$"):
        check_plan(graph, replace(plan, stays=early), 3)


def test_a_tensor_made_in_an_earlier_stay_is_no_product_of_its_operator():
    """A stay that ends and begins at the step of the tensor's own operator cannot hold what is made later."""
    graph = TensorGraph([Op("a", ["x"], ["p"]), Op("b", ["p"], ["y"])], {"x": 1, "p": 1, "y": 1})
    plan = plan_memory(graph, 3)
    late = tuple(replace(s, start=1) if s.tensor == "p" else s for s in plan.stays)
    with pytest.raises(InvalidValueError, match=r"^step 0: 'a' needs 'p', which is absent$"):
        check_plan(graph, replace(plan, stays=late), 3)


def test_tensors_without_bytes_lie_anywhere():
    graph = TensorGraph([Op("a", ["x"], ["p", "n"]), Op("b", ["p", "n"], ["y"])], {"x": 1, "p": 2, "n": 0, "y": 1})
    plan = plan_memory(graph, 3)
    inside = tuple(Stay("n", s.start, s.stop, 1) if s.tensor == "n" else s for s in plan.stays)
    check_plan(graph, replace(plan, stays=inside, addresses={**plan.addresses, "n": 1}), 3)


def test_moves_within_the_scratchpad_count_as_traffic():
    """Belady's linear allocator lays pieces together over the outside, at the price of a spill and a fetch."""
    ops = [Op("a", ["x"], ["p", "q"]), Op("b", ["q"], ["s"]), Op("c", ["p", "s"], ["t"]), Op("d", ["t"], ["y"])]
    graph = TensorGraph(ops, {"x": 4, "p": 2, "q": 2, "s": 4, "t": 2, "y": 1})
    plan = by_replacement(graph, 8)
    assert check_plan(graph, plan, 8) == plan.traffic_bytes
