"""Spaces read from files: which points there are, ranges, and one line for everything that is wrong."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit import hardware
from tetrit.errors import InvalidValueError
from tetrit.explore import load_space
from tetrit.explore.machines import variant
from tetrit.explore.sampling import sample
from tetrit.explore.space import Axis, MachineSpace

SPACE = """
objectives = ["latency_us"]
[workload]
kind = "gemm"
[[workload.gemm]]
m = 8
k = 8
n = 8
[[machine]]
preset = "shift_8x8"
[machine.parameters]
"""


@pytest.fixture
def space(tmp_path):
    def made(text, head=""):
        path = tmp_path / "space.toml"
        path.write_text(head + text)
        return load_space(path)

    return made


def values(found, place=0):
    return [value[0] for value in found.machines[0].axes[place].values]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[4, 8, 2]", [4, 8, 2]),
        ("{ from = 4, to = 16, step = 4 }", [4, 8, 12, 16]),
        ("{ from = 4, to = 15, step = 4 }", [4, 8, 12]),
        ("{ from = 4, to = 64, factor = 2 }", [4, 8, 16, 32, 64]),
        ("{ from = 4, to = 63, factor = 2 }", [4, 8, 16, 32]),
        ("{ from = 4, to = 16, count = 3 }", [4, 10, 16]),
        ("{ from = 3, to = 3, step = 1 }", [3]),
    ],
)
def test_values_of_a_parameter(space, text, wanted):
    found = values(space(SPACE + f"rows = {text}"))
    assert found == wanted
    assert all(isinstance(value, int) for value in found)


def test_real_ranges(space):
    assert values(space(SPACE + "clock_mhz = { from = 0.1, to = 0.3, step = 0.1 }")) == pytest.approx([0.1, 0.2, 0.3])
    assert values(space(SPACE + "clock_mhz = { from = 1.0, to = 1000, factor = 10 }")) == [1.0, 10.0, 100.0, 1000.0]
    assert values(space(SPACE + "clock_mhz = { from = 1, to = 2, count = 3 }")) == [1, 1.5, 2]


def test_dots_tables_and_parameters_together(space):
    found = space(
        SPACE + '"rows, cols" = [[4, 8], [8, 4]]\nact_memory.width_bits = [32, 64]\n[machine.parameters.acc_memory]\n'
        "size_bytes = [1024]\n"
    )
    assert [axis.names for axis in found.machines[0].axes] == [
        ("rows", "cols"),
        ("act_memory.width_bits",),
        ("acc_memory.size_bytes",),
    ]
    assert found.size == 4
    assert found.point(1).parameters == {
        "rows": 4, "cols": 8, "act_memory.width_bits": 64, "acc_memory.size_bytes": 1024,
    }  # fmt: skip
    machine = variant(found.machines[0].base, found.point(2).parameters).machine
    assert (machine.rows, machine.cols, machine.act_memory.width_bits) == (8, 4, 32)
    assert machine.acc_memory.size_bytes == 1024
    assert machine.act_memory.latency_cycles == found.machines[0].base.act_memory.latency_cycles


def test_device_fields_and_no_value():
    base = hardware.load("crossbar_256_pcm")
    machine = variant(base, {"device.g_max_siemens": 2e-5, "adc_bits": "none"}).machine
    assert machine.cell.g_max_siemens == 2e-5
    assert machine.adc_bits is None
    assert base.adc_bits == 8


@given(st.lists(st.integers(1, 5), min_size=0, max_size=4))
def test_every_point_has_one_number(sizes):
    axes = tuple(Axis(names=(f"p{n}",), values=tuple((v,) for v in range(size))) for n, size in enumerate(sizes))
    machine = MachineSpace(name="m", base=hardware.load("shift_8x8"), axes=axes)
    places = [machine.places(index) for index in range(machine.size)]
    assert len({tuple(place) for place in places}) == machine.size
    assert [machine.index(place) for place in places] == list(range(machine.size))


def test_several_machines_are_one_after_the_other(space):
    found = space(
        SPACE + 'rows = [2, 4, 8]\n[[machine]]\nname = "other"\npreset = "simd_4x4"\n[machine.parameters]\n'
        'act_format = ["fp4_e2m1", "posit8_0"]\n'
    )
    assert [found.point(n).machine for n in range(found.size)] == ["shift_8x8"] * 3 + ["other"] * 2
    assert found.point(4).parameters == {"act_format": "posit8_0"}
    assert [found.start(machine) for machine in found.machines] == [0, 3]
    made = variant(found.base("other"), found.point(4).parameters)
    assert (made.act_format, made.weight_format) == ("posit8_0", "posit8_0")


def test_random_samples_are_seeded_and_without_repetition(space):
    text = SPACE + "rows = { from = 1, to = 4000, step = 1 }\ncols = { from = 1, to = 4000, step = 1 }\n"
    text = text.replace("[workload]", '[sampling]\nmethod = "random"\npoints = 50\n[workload]', 1)
    one, again, other = (space(text, f"seed = {seed}\n") for seed in (1, 1, 2))
    drawn = [sample(found, 0, [], list) for found in (one, again, other)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 50
    assert max(drawn[0]) > 8_000_000


def test_successive_samples_are_new_and_come_near_the_best(space):
    text = SPACE + "rows = { from = 1, to = 64, step = 1 }\ncols = { from = 1, to = 64, step = 1 }\n"
    text = text.replace("[workload]", '[sampling]\nmethod = "successive"\npoints = 200\nrounds = 4\n[workload]', 1)
    found = space(text)

    def figures(number):
        point = found.point(number).parameters
        return {"latency_us": (point["rows"] - 40) ** 2 + (point["cols"] - 9) ** 2}

    taken: list[int] = []
    middles = []
    for number in range(4):
        drawn = sample(found, number, taken, lambda known=tuple(taken): [(n, figures(n)) for n in sorted(known)])
        assert drawn == sample(
            found, number, taken, lambda known=tuple(taken): [(n, figures(n)) for n in sorted(known)]
        )
        assert len(drawn) == 50
        assert not set(drawn) & set(taken)
        taken += drawn
        middles.append(statistics.median(figures(n)["latency_us"] for n in drawn))
    assert len(set(taken)) == 200
    assert middles[-1] < middles[0] / 2


def test_successive_sampling_can_take_every_point(space):
    text = SPACE + "rows = [1, 2, 3]\ncols = [1, 2]\n"
    text = text.replace("[workload]", '[sampling]\nmethod = "successive"\npoints = 99\nrounds = 3\n[workload]', 1)
    found = space(text)
    taken: list[int] = []
    for number in range(3):
        taken += sample(found, number, taken, lambda known=tuple(taken): [(n, {"latency_us": float(n)}) for n in known])
    assert sorted(taken) == list(range(6))


def test_network_workloads(space):
    text = SPACE.replace(
        'kind = "gemm"\n[[workload.gemm]]\nm = 8\nk = 8\nn = 8', 'kind = "network"\nnetwork = "resnet18"\nbatch = 2'
    )
    from tetrit.hls import networks

    found = space(text + "rows = [8]").workload
    assert found.name == "resnet18, batch 2"
    wanted = networks.get("resnet18").workloads()
    assert [(g.name, g.workload.m, g.workload.k, g.workload.n, g.count) for g in found.gemms] == [
        (name, 2 * work.m, work.k, work.n, count) for name, work, count in wanted
    ]


BAD = [
    ("", SPACE + "rowz = [1]", "[[machine]] 1: unknown parameter 'rowz'; did you mean 'rows'?"),
    (
        "",
        SPACE + "act_memory.wide = [1]",
        "[[machine]] 1: unknown parameter 'act_memory.wide'; did you mean 'act_memory.width_bits'?",
    ),
    ("", SPACE + "rows.more = [1]", "[[machine]] 1: `rows.more`: `rows` has no fields"),
    (
        "",
        SPACE + "act_memory = [1]",
        "[[machine]] 1: `act_memory` is a part of the machine: name one of its fields with a dot",
    ),
    ("", SPACE + "rows = []", "[[machine]] 1: `rows` must be a list of values or a range {from, to, step}, got []"),
    ("", SPACE + "rows = [4, 4]", "[[machine]] 1: `rows` must have every value once, got [4, 4]"),
    ("", SPACE + 'rows = [[1, 2], 3]\n"rows, cols" = [[1, 2]]', "[[machine]] 1: `rows` is given twice"),
    ("", SPACE + '"rows, cols" = [[1]]', "[[machine]] 1: `rows, cols` must be a list of lists of 2 values, got [1]"),
    (
        "",
        SPACE + "rows = { from = 1, to = 3 }",
        "[[machine]] 1: `rows` must have `from`, `to` and one of `step`, `factor` and `count`",
    ),
    ("", SPACE + "rows = { from = 5, to = 3, step = 1 }", "[[machine]] 1: `rows.to` must be at least `from`, 5, got 3"),
    ("", SPACE + "rows = { from = 1, to = 3, step = 0 }", "[[machine]] 1: `rows.step` must be above 0, got 0"),
    (
        "",
        SPACE + "rows = { from = 0, to = 3, factor = 2 }",
        "[[machine]] 1: `rows.factor` must be above 1 and `from` above 0, got 2 and 0",
    ),
    (
        "",
        SPACE + "rows = { from = 1, to = 1e9, step = 1 }",
        "[[machine]] 1: `rows` has 1,000,000,000 values, more than 100,000",
    ),
    (
        "",
        SPACE + "rows = { from = 1, to = 2000, step = 1 }\ncols = { from = 1, to = 2000, step = 1 }",
        "[sampling]: the grid has 4,000,000 points, more than 1,000,000: sample it",
    ),
    (
        "",
        SPACE.replace("shift_8x8", "shift_9x9") + "rows = [1]",
        "[[machine]] 1: unknown machine 'shift_9x9'; did you mean 'shift_8x8'?",
    ),
    ("", SPACE.replace('["latency_us"]', '["latency"]'), "unknown objectives 'latency'; did you mean 'latency_us'?"),
    (
        "",
        SPACE.replace('["latency_us"]', "[]"),
        "`objectives` must be a list of one or more of latency_us, energy_uj, area_mm2, accuracy, "
        "cycles, utilization, got []",
    ),
    (
        "",
        SPACE.replace('["latency_us"]', '["cycles", "cycles"]'),
        "`objectives` must all be different, got ['cycles', 'cycles']",
    ),
    (
        "",
        SPACE.replace('["latency_us"]', '["accuracy"]'),
        '`accuracy` needs a network with data: `[workload]` with `kind = "digits"`',
    ),
    ('constraints = ["area < x"]\n', SPACE, "unknown constraints 'area'; did you mean 'area_mm2'?"),
    ('constraints = ["area_mm2 < x"]\n', SPACE, "`constraints`: 'x' of 'area_mm2 < x' is no finite number"),
    (
        'constraints = ["area_mm2 = 2"]\n',
        SPACE,
        "`constraints` must be texts such as 'area_mm2 <= 2' with one of <=, >=, <, >, got 'area_mm2 = 2'",
    ),
    ("seed = -1\n", SPACE, "`seed` must be an integer from 0 to 18446744073708551615, got -1"),
    ("speed = 1\n", SPACE, "unknown key 'speed'; did you mean 'seed'?"),
    ("", SPACE.replace('kind = "gemm"', 'kind = "gem"'), "[workload]: unknown kind 'gem'; did you mean 'gemm'?"),
    ("", SPACE.replace("m = 8\n", "", 1), "[workload]: [[workload.gemm]] 1: `m` is missing"),
    ("", SPACE.replace("m = 8\n", "m = 0\n", 1), "[workload]: `m` must be a positive integer, got 0"),
    (
        "",
        SPACE.replace("[workload]", '[sampling]\nmethod = "random"\n[workload]', 1),
        "[sampling]: `points` is missing: how many of the 1 points",
    ),
    (
        "",
        SPACE.replace("[workload]", "[sampling]\npoints = 5\n[workload]", 1),
        "[sampling]: `points` and `rounds` are for random and successive sampling: a grid has all",
    ),
    (
        "",
        SPACE + '[[machine]]\npreset = "shift_8x8"',
        "[[machine]] 2: there are two machines named 'shift_8x8': set `name`",
    ),
    ('area = "guessed"\n', SPACE, "unknown area 'guessed'; did you mean 'synthesised'?"),
]


@pytest.mark.parametrize(("head", "text", "message"), BAD)
def test_one_line_says_what_is_wrong(space, tmp_path, head, text, message):
    with pytest.raises(InvalidValueError) as caught:
        space(text, head)
    told = str(caught.value)
    assert "\n" not in told
    assert told.removeprefix(f"{tmp_path / 'space.toml'}: ") == message


def test_machines_of_different_sources_are_not_compared_silently(space):
    text = SPACE.replace('["latency_us"]', '["latency_us", "energy_uj"]') + "rows = [4]\n"
    text += '[[machine]]\npreset = "crossbar_ideal"\n'
    with pytest.raises(
        InvalidValueError, match=r"`energy_uj` is no comparison between these machines: that of 'shift_8x8' "
    ):
        space(text)
    assert space(text, "mix_sources = true\n").size == 2
    assert space(text.replace(', "energy_uj"', "")).size == 2


def test_missing_file(tmp_path):
    with pytest.raises(InvalidValueError, match=r"^cannot read space '.*none.toml': No such file or directory$"):
        load_space(tmp_path / "none.toml")
