"""SCALE-Sim's cycles: closed forms, our recurrences at its settings, and every term that makes ours another number."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit import hardware, hls
from tetrit.errors import InvalidValueError
from tetrit.hls import networks
from tetrit.hls.mapping import Tiling, scale_sim
from tetrit.sim import Workload
from tetrit.sim.shift import cycles

sizes = st.integers(1, 200)
SHAPES = [(rows, cols) for rows in (1, 4, 8, 16, 32, 64) for cols in (1, 4, 8, 32)]


def products():
    """GEMMs as SCALE-Sim's users run them: lowered convolutions and layers of transformers, 96 of them."""
    rng = random.Random(12)
    listed = [
        (112 * 112, 147, 64),
        (3136, 576, 64),
        (784, 1152, 128),
        (196, 2304, 256),
        (49, 4608, 512),
        (1, 512, 1000),
    ]
    listed += [(197, 384, 1152), (197, 64, 197), (128, 768, 3072), (1, 4096, 4096)]
    return listed + [(rng.randint(1, 600), rng.randint(1, 600), rng.randint(1, 600)) for _ in range(96 - len(listed))]


@pytest.mark.parametrize("dataflow", scale_sim.DATAFLOWS)
def test_our_recurrences_at_its_settings_give_its_closed_form(dataflow):
    for m, k, n in products():
        workload = Workload(m=m, k=k, n=n)
        for rows, cols in SHAPES:
            expected = scale_sim.cycles(workload, rows=rows, cols=cols, dataflow=dataflow)
            assert scale_sim.recurrence(workload, rows=rows, cols=cols, dataflow=dataflow) == expected


@given(m=sizes, k=sizes, n=sizes, rows=st.integers(1, 40), cols=st.integers(1, 40))
def test_closed_forms_are_those_that_were_fitted(m, k, n, rows, cols):
    def ceil(a, b):
        return (a + b - 1) // b

    workload, size = Workload(m=m, k=k, n=n), {"rows": rows, "cols": cols}
    weight = ceil(k, rows) * ceil(n, cols) * (2 * rows + cols + m - 2) - 1
    output = ceil(m, rows) * ceil(n, cols) * (rows + cols + k - 2) - 1
    assert scale_sim.cycles(workload, dataflow="weight_stationary", **size) == weight
    assert scale_sim.cycles(workload, dataflow="output_stationary", **size) == output


@pytest.mark.parametrize("preset", ["shift_8x8", "shift_16x16", "shift_16x16_os"])
def test_terms_add_up_to_our_cycles(preset):
    machine, rng = hardware.load(preset), random.Random(1)
    seen = set()
    for _ in range(25):
        workload = Workload(m=rng.randint(1, 200), k=rng.randint(1, 200), n=rng.randint(1, 60))
        tiling = hls.map_network([workload], machine, off_chip=None).layers[0].mapping
        terms = scale_sim.terms(workload, machine, tiling)
        assert sum(terms.values()) == cycles.count_tiles(tiling.tiles(workload), machine)
        assert terms["counted_from_0"] == 1
        assert terms["short_tiles"] <= 0
        assert terms["memories"] >= 0
        seen |= {name for name, value in terms.items() if value}
    assert seen >= {"scale_sim", "counted_from_0", "short_tiles", "registers", "memories", "overlap"}


def test_other_tiles_have_a_term_of_their_own():
    machine, workload = hardware.ShiftArray(rows=8, cols=8), Workload(m=64, k=16, n=16)
    terms = scale_sim.terms(workload, machine, Tiling(tile_m=16, tile_k=4, tile_n=4))
    # 4 x 4 x 4 tiles of 16 vectors in place of 2 x 2 of 64, each alone 22 cycles beside its vectors and weight rows
    assert terms["tiling"] == 64 * (4 + 16 + 8 + 8 + 1) - 4 * (8 + 64 + 8 + 8 + 1)


@pytest.mark.parametrize("dataflow", scale_sim.DATAFLOWS)
def test_what_is_left_of_ideal_full_tiles_alone_is_the_registers(dataflow):
    """A word in, a register, a word out: 3 cycles a tile (output stationary 4: its drain starts a cycle later)."""
    machine = hardware.ShiftArray(rows=4, cols=4, dataflow=dataflow)
    workload = Workload(m=4, k=4, n=4)
    terms = scale_sim.terms(workload, machine, Tiling(tile_m=4, tile_k=4, tile_n=4))
    others = {name: value for name, value in terms.items() if name not in ("scale_sim", "registers", "counted_from_0")}
    assert not any(others.values())
    assert terms["registers"] == {"weight_stationary": 3, "output_stationary": 4}[dataflow]


def test_resnet_18_is_near_the_measured_run():
    """The measured list of layers is not at hand; the published network differs from it in padding at most."""
    measured = {"weight_stationary": 2_834_979, "output_stationary": 2_011_122}
    layers = networks.get("resnet18").workloads()
    assert len(layers) == 21
    for dataflow, total in measured.items():
        ours = sum(scale_sim.cycles(layer, rows=32, cols=32, dataflow=dataflow) for _, layer, _ in layers)
        assert ours == {"weight_stationary": 2_855_031, "output_stationary": 2_133_315}[dataflow]
        assert abs(ours / total - 1) < 0.065


def test_refusals():
    workload = Workload(m=1, k=1, n=1)
    with pytest.raises(InvalidValueError, match=r"^`rows` must be a positive integer, got 0$"):
        scale_sim.cycles(workload, rows=0, cols=1, dataflow="weight_stationary")
    with pytest.raises(InvalidValueError, match="input_stationary"):
        scale_sim.recurrence(workload, rows=1, cols=1, dataflow="input_stationary")
