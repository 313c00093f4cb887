"""`hls.map_network`: networks in, layers and totals out; groups side by side; refusals; speed of the four networks."""

import os
import pickle
import re
import subprocess
import sys
import time

import pytest

from tetrit import hardware, hls
from tetrit.errors import InvalidValueError
from tetrit.hls import networks
from tetrit.hls.graph.build import Builder
from tetrit.hls.mapping import OFF_CHIP, NetworkMapping, Traffic
from tetrit.sim import Workload

ARRAY = hardware.load("shift_16x16")
FOUR = ("resnet50", "mobilenet_v2", "vit_s", "transformer_7b_prefill", "transformer_7b_decode")


def test_totals_are_sums_over_layers():
    given = [("a", Workload(m=30, k=40, n=50)), ("b", Workload(m=3, k=4, n=5), 6), Workload(m=1, k=2, n=3)]
    found = hls.map_network(given, ARRAY)
    assert [(layer.name, layer.count) for layer in found.layers] == [("a", 1), ("b", 6), ("layer 2", 1)]
    assert found.macs == 30 * 40 * 50 + 6 * 3 * 4 * 5 + 6
    assert found.cycles == sum(max(layer.array_cycles, layer.off_chip_cycles) for layer in found.layers)
    assert found.latency_us == found.cycles / ARRAY.clock_mhz
    assert found.energy_pj == pytest.approx(sum(found.breakdown.values()), rel=1e-12)
    assert found.traffic["off-chip memory"].write_bytes == sum(
        layer.traffic["off-chip memory"].write_bytes for layer in found.layers
    )
    assert 0 < found.utilization < 1
    assert found.optimal
    layer = found.layers[1]
    assert layer.packed * layer.runs == 6
    assert layer.macs_per_cycle == layer.macs / layer.cycles
    assert layer.utilization == pytest.approx(layer.macs_per_cycle / 256, rel=1e-12)
    moved = layer.traffic["off-chip memory"]
    assert layer.intensity == layer.macs / (moved.read_bytes + moved.write_bytes)
    assert layer.macs_per_cycle <= min(256, layer.intensity * found.bandwidth_bytes_per_cycle)


def test_a_layer_is_bound_by_what_takes_longer():
    wide, narrow = OFF_CHIP.replace(width_bits=4096), OFF_CHIP.replace(width_bits=1)
    layer = Workload(m=100, k=64, n=64)
    bounds = [hls.map_network([layer], ARRAY, off_chip=memory).layers[0].bound for memory in (wide, narrow, None)]
    assert bounds == ["compute", "memory", "compute"]
    alone = hls.map_network([layer], ARRAY, off_chip=None)
    assert alone.layers[0].intensity == alone.bandwidth_bytes_per_cycle == float("inf")
    assert "off-chip memory" not in alone.traffic


def test_the_cost_that_is_asked_for_is_the_least_of_three():
    network = [Workload(m=197, k=384, n=1536)]
    found = {
        cost: hls.map_network(network, hardware.load("shift_16x16_os"), cost) for cost in ("latency", "energy", "edp")
    }
    assert found["latency"].cycles < found["energy"].cycles
    assert found["energy"].energy_pj < found["latency"].energy_pj
    products = {cost: mapping.cycles * mapping.energy_pj for cost, mapping in found.items()}
    assert products["edp"] == min(products.values())


def test_groups_run_side_by_side_where_that_takes_fewer_tiles():
    depthwise = [("dw", Workload(m=784, k=9, n=1), 96)]
    packed = hls.map_network(depthwise, ARRAY, off_chip=None).layers[0]
    alone = hls.map_network([Workload(m=784, k=9, n=1)], ARRAY, off_chip=None).layers[0]
    assert packed.packed > 1
    assert 96 % packed.packed == 0
    assert packed.cycles < 96 * alone.cycles
    assert packed.macs == 96 * alone.macs
    # pot3 has no zero to fill the other blocks with, and heads of attention fill the array without
    pot = ARRAY.replace(weight_format="pot3")
    without = hls.map_network(depthwise, pot, off_chip=None).layers[0]
    assert without.packed == 1
    assert without.cycles == 96 * hls.map_network([Workload(m=784, k=9, n=1)], pot, off_chip=None).cycles
    heads = hls.map_network([("scores", Workload(m=197, k=64, n=197), 6)], ARRAY).layers[0]
    assert heads.packed == 1


def test_energy_of_zeros_is_less():
    layer = [Workload(m=50, k=64, n=64)]
    full, half = (hls.map_network(layer, ARRAY, nonzero=share) for share in (1.0, 0.5))
    assert half.cycles == full.cycles
    assert half.breakdown["array"] < full.breakdown["array"]
    assert half.breakdown["off-chip memory"] == full.breakdown["off-chip memory"]


def test_formats_of_a_simd_engine_set_its_lanes_and_traffic():
    machine, layer = hardware.load("simd_8x8"), [Workload(m=16, k=32, n=16)]
    four, sixteen = (hls.map_network(layer, machine, formats=(name, name)) for name in ("fp4_e2m1", "posit16_1"))
    assert (four.layers[0].solution.peak_macs, sixteen.layers[0].solution.peak_macs) == (256, 64)
    read = [mapping.traffic["off-chip memory"].read_bytes for mapping in (four, sixteen)]
    assert read[1] == 4 * read[0]


def test_graphs_are_mapped_node_by_node():
    b = Builder("small")
    x = b.input("x", (1, 3, 16, 16))
    x = b.relu(b.conv(x, 8, 3, padding=1, name="first"))
    x = b.conv(x, 8, 3, padding=1, groups=8, name="depthwise")
    graph = b.build([b.linear(b.flatten(b.global_average_pool(x)), 10, name="last")])
    found = hls.map_network(graph, ARRAY)
    shapes = [(layer.name, layer.workload.m, layer.workload.k, layer.workload.n, layer.count) for layer in found.layers]
    assert shapes == [("first", 256, 27, 8, 1), ("depthwise", 256, 9, 1, 8), ("last", 1, 8, 10, 1)]


def test_equal_layers_are_searched_once_and_equal_calls_give_equal_mappings():
    found = hls.map_network([Workload(m=7, k=8, n=9)] * 3, ARRAY)
    assert found.layers[0].solution is found.layers[2].solution
    again = hls.map_network([Workload(m=7, k=8, n=9)], ARRAY)
    assert again.layers[0].solution is found.layers[0].solution
    assert pickle.loads(pickle.dumps(found)).cycles == found.cycles
    assert isinstance(found, NetworkMapping)


@pytest.mark.parametrize(
    ("network", "error"),
    [
        ("resnet50", "`network` must be a Graph or a sequence of workloads, got 'resnet50'"),
        (3, "`network` must be a Graph or a sequence of workloads, got 3"),
        (
            [(1, 2, 3)],
            "entry 0 of `network` must be a Workload, (name, Workload) or (name, Workload, count), got (1, 2, 3)",
        ),
        ([("a", Workload(m=1, k=1, n=1), 1.5)], "`count of 'a'` must be an integer, got 1.5"),
    ],
)
def test_what_is_no_network_is_refused(network, error):
    with pytest.raises(TypeError, match=f"^{re.escape(error)}$"):
        hls.map_network(network, ARRAY)


def test_refusals():
    layer = [Workload(m=2, k=40, n=2)]

    def refused(message, machine=ARRAY, error=InvalidValueError, network=layer, cost="latency", **settings):
        with pytest.raises(error, match=f"^{re.escape(message)}"):
            hls.map_network(network, machine, cost, **settings)

    refused("a network needs at least one matrix product to be mapped", network=[])
    refused("unknown cost 'area'; known: edp, energy, latency", cost="area")
    refused("`machine` must be a ShiftArray, a SimdEngine or a Crossbar, got 'x'", machine="x", error=TypeError)
    refused("`off_chip` must be a Memory or None, got 64", off_chip=64, error=TypeError)
    refused("`nonzero` must be at most 1, got 2", nonzero=2.0)
    refused("`effort` must be a positive integer, got 0", effort=0)
    refused("`arrays` must be a positive integer, got 0", arrays=0)
    refused(
        "layer 'layer 0': `nonzero` must be 1 for pot3, which has no zero, got 0.5",
        machine=ARRAY.replace(weight_format="pot3"),
        nonzero=0.5,
    )
    refused(
        "layer 'layer 0': `acc_memory` of 1 bytes cannot hold the partial sums of one vector",
        machine=ARRAY.replace(acc_memory=hardware.Memory(size_bytes=1)),
    )
    refused(
        "layer 'layer 0': `act_format` must be one of fp4_e2m1, posit4_1, posit8_0, posit16_1, got 'int8'",
        machine=hardware.load("simd_4x4"),
        formats=("int8", "posit8_0"),
    )


@pytest.mark.parametrize("preset", ["shift_16x16", "shift_16x16_os", "simd_4x4", "crossbar_256_pcm"])
def test_huge_products_take_no_time_or_are_refused(preset):
    machine = hardware.load(preset)
    start = time.process_time()
    for shape in ((10**9, 1, 1), (1, 10**9, 1), (1, 1, 10**9), (10**5, 10**5, 10**5)):
        if not preset.startswith("shift") and max(shape) > 10**6:
            continue  # time in proportion to tiles of a row, or to arrays
        m, k, n = shape
        found = hls.map_network([Workload(m=m, k=k, n=n)], machine, "energy", effort=20)
        assert found.cycles >= found.macs / found.layers[0].solution.peak_macs
    assert time.process_time() - start < 20
    with pytest.raises(
        InvalidValueError,
        match=r"^layer 'big': a product must have at most 72,057,594,037,927,936 MACs to be mapped, got 1(,000){6}$",
    ):
        hls.map_network([("big", Workload(m=10**6, k=10**6, n=10**6))], machine)
    with pytest.raises(InvalidValueError, match=r"`k` must be at most 2,147,483,648 to be mapped, got 3,000,000,000$"):
        hls.map_network([("long", Workload(m=1, k=3 * 10**9, n=1))], machine)


def test_a_search_cut_short_at_once_still_gives_a_mapping():
    for dataflow in ("weight_stationary", "output_stationary"):
        array = ARRAY.replace(dataflow=dataflow, acc_memory=hardware.Memory(size_bytes=1 << 30))
        product = Workload(m=4000, k=5000, n=60000)
        found = hls.map_network([product], array, "energy", effort=1).layers[0]
        assert found.array_cycles >= product.macs / 256
        assert found.solution.bound <= found.energy_pj


def test_traffic_adds_up():
    one = Traffic(read_bytes=3, write_bytes=4)
    assert one + one == one * 2 == Traffic(read_bytes=6, write_bytes=8)


def test_the_published_networks_have_their_sizes():
    """MACs and weights as published: LLaMA-7B has 6.74 G parameters, ViT-S 22 M and 4.6 GMAC, ResNet-50 4.1 GMAC."""
    macs = {name: sum(w.macs * count for _, w, count in networks.get(name).workloads()) for name in FOUR}
    assert [round(macs[name] / 1e9, 2) for name in FOUR] == [4.09, 0.3, 4.6, 14362.5, 7.14]
    weights = {name: sum(array.size for array in networks.get(name).constants.values()) / 1e6 for name in FOUR}
    assert round(weights["transformer_7b_decode"]) == round(weights["transformer_7b_prefill"]) == 6738
    assert round(weights["vit_s"], 1) == 22.1
    resident = sum(
        array.base.nbytes if array.base is not None else array.nbytes
        for array in networks.get("transformer_7b_decode").constants.values()
    )
    assert resident < 100_000


@pytest.mark.parametrize("preset", ["shift_16x16", "simd_8x8", "crossbar_256_pcm"])
def test_the_four_networks_are_mapped_and_proven(preset):
    machine = hardware.load(preset)
    for name in FOUR:
        found = hls.map_network(networks.get(name), machine)
        assert found.optimal
        assert all(layer.macs_per_cycle <= layer.solution.peak_macs * (1 + 1e-12) for layer in found.layers)
        if name == "transformer_7b_decode":
            assert found.utilization < 0.3  # every weight is used once


def test_the_compiler_changes_nothing():
    """Cycles and cost of a search are the same without numba's compiler."""
    probe = (
        "from tetrit import hardware, hls, sim\n"
        "for preset in ('shift_8x8', 'simd_4x4'):\n"
        "    m = hls.map_network([sim.Workload(m=5, k=20, n=9)], hardware.load(preset), 'edp', effort=4)\n"
        "    print(m.cycles, m.energy_pj, m.layers[0].mapping, m.optimal)\n"
    )
    answers = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", probe],
            env=os.environ | {"NUMBA_DISABLE_JIT": disabled},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for disabled in "01"
    ]
    assert answers[0] == answers[1] != ""
