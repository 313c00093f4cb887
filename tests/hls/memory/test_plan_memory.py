"""Plans: as good as trying everything, replayable, equal to the joint program's, honest about what is proven."""

import pickle
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tetrit.errors import InvalidValueError, ToolError
from tetrit.hls import networks
from tetrit.hls.memory import (
    Op,
    TensorGraph,
    by_replacement,
    check_plan,
    fused,
    minimum_peak,
    plan_memory,
    planner,
    replacement_traffic,
)

from .reference import fragmented_graph, graphs, least_peak, least_traffic

SMALL = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def spilling():
    """`p` is needed at the end, and beside `q` and `r` there is no room for it."""
    ops = [Op("a", ["x"], ["p"]), Op("b", ["p"], ["q"]), Op("c", ["q"], ["r"]), Op("d", ["p", "r"], ["y"])]
    return TensorGraph(ops, {"x": 1, "p": 2, "q": 4, "r": 4, "y": 1})


@SMALL
@given(graph=graphs(), data=st.data())
def test_no_order_residency_and_addresses_are_better(graph, data):
    peak = minimum_peak(graph)
    assert peak.optimal
    assert check_plan(graph, peak, peak.peak_bytes) == 0
    assert peak.peak_bytes == least_peak(graph)
    budget = data.draw(st.integers(graph.smallest_budget, peak.peak_bytes))
    plan = plan_memory(graph, budget)
    assert plan.optimal
    assert check_plan(graph, plan, budget) == plan.traffic_bytes == plan.bound == least_traffic(graph, budget)
    for method in ("divide", "greedy"):
        other = plan_memory(graph, budget, method)
        assert check_plan(graph, other, budget) >= plan.traffic_bytes >= other.bound
        assert not other.optimal or other.traffic_bytes == plan.traffic_bytes


@SMALL
@given(graph=graphs(), data=st.data())
def test_windows_and_the_bound_of_the_peak_lead_to_the_same_optimum(graph, data):
    """Large parts go another way, by windows and bounds; here every part does."""
    peak = minimum_peak(graph).peak_bytes
    budget = data.draw(st.integers(graph.smallest_budget, peak))
    best = least_traffic(graph, budget)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "_QUICK_STATES", 1)
        exact = plan_memory(graph, budget)
        divided = plan_memory(graph, budget, "divide")
    assert exact.optimal
    assert check_plan(graph, exact, budget) == best
    assert divided.bound <= best <= check_plan(graph, divided, budget)
    assert divided.optimal == (divided.bound == divided.traffic_bytes)


@settings(SMALL, max_examples=12)
@given(graph=graphs(most_ops=4), data=st.data())
def test_the_joint_program_finds_the_same_optimum(graph, data):
    peak = minimum_peak(graph, "ilp")
    assert peak.optimal
    assert check_plan(graph, peak) == 0
    assert peak.peak_bytes == minimum_peak(graph).peak_bytes
    budget = data.draw(st.integers(graph.smallest_budget, peak.peak_bytes))
    plan = plan_memory(graph, budget, "ilp")
    assert plan.optimal
    assert check_plan(graph, plan, budget) == plan_memory(graph, budget).traffic_bytes


def test_a_tensor_goes_out_once_and_comes_back_each_time():
    """`p` is read three times with something large between: one write, two reads."""
    ops = [Op("a", ["x"], ["p"])]
    for n, before in enumerate(("p", "p", "p")):
        reads = [before, *([f"r{n - 1}"] if n else [])]
        ops += [Op(f"b{n}", reads, [f"q{n}"]), Op(f"c{n}", [f"q{n}"], [f"r{n}"])]
    graph = TensorGraph(ops, {"x": 0, "p": 2, "q0": 1, "q1": 1, "q2": 1, "r0": 5, "r1": 5, "r2": 5})
    plan = plan_memory(graph, graph.smallest_budget)
    assert graph.smallest_budget == 8
    assert plan.traffic_bytes == 0
    tight = TensorGraph(ops, dict(graph.sizes) | {"q0": 5, "q1": 5})
    plan = plan_memory(tight, tight.smallest_budget - 1 if tight.smallest_budget > 12 else tight.smallest_budget)
    assert check_plan(tight, plan, 12) == plan.traffic_bytes == least_traffic(tight, 12)


def test_a_tensor_comes_back_to_its_old_place_where_that_is_free():
    graph = fused(networks.get("bert_base"))
    plan = plan_memory(graph, graph.smallest_budget)
    assert plan.fetches
    assert all(stay.address == plan.addresses[stay.tensor] for stay in plan.stays)


def test_an_input_is_read_again_and_an_output_not_written_twice():
    ops = [Op("a", ["x"], ["p"]), Op("b", ["p"], ["q"]), Op("c", ["q"], ["r"]), Op("d", ["x", "r"], ["y"])]
    sizes = {"x": 2, "p": 5, "q": 5, "r": 5, "y": 1}
    plan = plan_memory(TensorGraph(ops, sizes), 10)
    assert plan.traffic_bytes == 2  # x comes back; it lies outside anyway
    assert [(move.step, move.tensor) for move in plan.fetches] == [(3, "x")]
    assert plan.spills == ()
    ops[3] = Op("d", ["p", "r"], ["y"])
    assert plan_memory(TensorGraph(ops, sizes), 11).traffic_bytes == 10  # p goes out and comes back
    assert plan_memory(TensorGraph(ops, sizes, ["p"]), 11).traffic_bytes == 5  # as an output it goes out in any case


def test_inputs_take_room_from_their_first_use_on():
    ops = [Op("a", ["x"], ["p"]), Op("b", ["p"], ["q"]), Op("c", ["q", "z"], ["y"])]
    graph = TensorGraph(ops, {"x": 8, "p": 2, "q": 1, "z": 8, "y": 1})
    assert minimum_peak(graph).peak_bytes == 10


def test_memory_in_pieces_costs_traffic_and_the_proof_says_so():
    """Within 4 bytes the sum of the bytes always fits, but no addresses do: the least traffic is not 0."""
    graph = fragmented_graph()
    peak = minimum_peak(graph)
    assert graph.smallest_budget == 4
    assert (peak.peak_bytes, peak.optimal) == (5, True)
    plan = plan_memory(graph, 4)
    assert plan.optimal
    assert plan.traffic_bytes == least_traffic(graph, 4) > 0
    assert replacement_traffic(graph, 4) == 0
    check_plan(graph, plan, 4)


def test_budgets_that_do_not_do_name_the_smallest():
    with pytest.raises(
        InvalidValueError, match=r"^`budget_bytes` must be at least 8, what operator 'c' reads and writes, got 7$"
    ):
        plan_memory(spilling(), 7)
    with pytest.raises(TypeError, match=r"^`budget_bytes` must be an integer, got 7\.5$"):
        plan_memory(spilling(), 7.5)
    assert plan_memory(spilling(), 8).traffic_bytes == 4


def test_wrong_arguments_are_refused():
    with pytest.raises(InvalidValueError, match=r"^unknown method 'optimum'"):
        plan_memory(spilling(), 8, "optimum")
    with pytest.raises(InvalidValueError, match=r"^`seconds` must be above 0, got 0$"):
        plan_memory(spilling(), 8, seconds=0)
    with pytest.raises(TypeError, match=r"^`graph` must be a TensorGraph, got dict$"):
        plan_memory({}, 8)
    with pytest.raises(TypeError, match=r"^`graph` must be a TensorGraph, got dict$"):
        minimum_peak({})


def test_arguments_by_position_and_by_name_and_without_a_budget():
    by_name = plan_memory(graph=spilling(), budget_bytes=8, method="optimal")
    assert by_name == plan_memory(spilling(), 8, "optimal")
    assert plan_memory(spilling(), None) == minimum_peak(spilling())
    assert pickle.loads(pickle.dumps(by_name)) == by_name


def test_a_plan_out_of_time_is_marked_and_still_holds():
    graph = fused(networks.get("nasnet_a_mobile"))
    plan = plan_memory(graph, graph.smallest_budget, seconds=1e-3)
    check_plan(graph, plan, graph.smallest_budget)
    assert not plan.optimal
    assert plan.gap == (plan.traffic_bytes - plan.bound) / plan.traffic_bytes > 0


@pytest.mark.parametrize("name", ["resnet50", "googlenet", "mobilenet_v2", "unet", "bert_base"])
def test_real_networks_are_planned_to_the_proven_optimum(name):
    graph = fused(networks.get(name))
    peak = minimum_peak(graph)
    assert peak.optimal
    check_plan(graph, peak, peak.peak_bytes)
    plan = plan_memory(graph, graph.smallest_budget)
    assert plan.optimal
    check_plan(graph, plan, graph.smallest_budget)
    default = by_replacement(graph, graph.smallest_budget)
    check_plan(graph, default, graph.smallest_budget)
    assert plan.traffic_bytes <= 0.16 * default.traffic_bytes
    at_peak = plan_memory(graph, peak.peak_bytes)
    assert (at_peak.traffic_bytes, at_peak.optimal) == (0, True)


def test_the_solver_is_loaded_only_when_it_is_asked(monkeypatch):
    monkeypatch.setitem(sys.modules, "highspy", None)  # an import of it fails now
    assert plan_memory(spilling(), 8).optimal
    assert minimum_peak(spilling()).optimal
    with pytest.raises(ToolError, match=r"^integer programs need highspy: pip install 'tetrit\[hls\]'$"):
        plan_memory(spilling(), 8, "ilp")
