"""Waveforms of real runs: every value is Verilator's, the bench's signals sit in the right cycles, the views fit."""

import re
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import pywellen
from amaranth.hdl import Fragment, Module

from tests.hls.jobs.networks import Net
from tests.verify.test_protocol import N_WORDS, Register, value
from tests.verify.test_waves_fst import read_libfst, read_vcd, read_wellen
from tetrit.errors import InvalidValueError
from tetrit.hardware import ShiftArray
from tetrit.hls.jobs import compile_jobs
from tetrit.rtl.coprocessor import MatmulCoprocessor
from tetrit.sim.coprocessor import Coprocessor
from tetrit.verify.batch import BatchCoprocessor
from tetrit.verify.bench import Workbench
from tetrit.verify.network import run_network
from tetrit.verify.suites import coprocessor, szt
from tetrit.verify.suites.coprocessor_batch import run_batch
from tetrit.verify.suites.coprocessor_jobs import random_cases
from tetrit.verify.suites.coprocessor_tasks import emitted
from tetrit.verify.suites.coprocessor_waves import STATES
from tetrit.verify.suites.designs import DESIGNS
from tetrit.verify.suites.job import Case, Feed, Job, stream_stimulus
from tetrit.verify.waves import Tap, Waves
from tetrit.verify.waves.vcd import VcdToFst
from tetrit.verify.words import pack_fields

UNIT = Coprocessor(machine=ShiftArray(rows=1, cols=2, dataflow="output_stationary"), burst_beats=4)
ARRAY = ShiftArray(rows=2, cols=3)


class Values:
    """What a file says, by time."""

    def __init__(self, path: Path) -> None:
        self.changes = read_wellen(path)

    def at(self, name: str, time: int) -> int | str:
        """Return a value at a time; unknown ones as text."""
        found = [text for when, text in self.changes[name] if when <= time]
        return int(found[-1], 2) if found and set(found[-1]) <= {"0", "1"} else (found or ["x"])[-1]

    def rises(self, name: str) -> list[int]:
        """Return when a bit becomes 1."""
        return [time for time, text in self.changes[name] if text == "1"]


def check_views(path: Path) -> list[str]:
    """Check that all names in the views exist in the file; return those that GTKWave shows."""
    known = {
        (name, each.bitwidth) for name, each in ((v.full_name, v) for v in pywellen.Waveform(str(path)).all_vars())
    }
    ranged = {name if bits == 1 else f"{name}[{bits - 1}:0]" for name, bits in known}
    lines = path.with_suffix(".gtkw").read_text(encoding="utf-8").splitlines()
    traced = [line for line in lines if line[0] not in "[*@-"]
    assert set(traced) <= ranged
    assert lines[0] == f'[dumpfile] "{path.name}"'
    commands = [line.split(" ") for line in path.with_suffix(".sucl").read_text(encoding="utf-8").splitlines()]
    assert {words[0] for words in commands} <= {"divider_add", "variable_add", "zoom_fit", "cursor_set"}
    assert all(len(words) == 2 for words in commands if words[0] != "zoom_fit")
    added = {words[1] for words in commands if words[0] == "variable_add"}
    assert added <= {name for name, _ in known}
    return traced


def groups(path: Path) -> list[str]:
    lines = path.with_suffix(".gtkw").read_text(encoding="utf-8").splitlines()
    return [line[1:] for before, line in pairwise(lines) if before in ("@800200", "@c00200")]


def every_value(folder: Path, take_part: Callable[[Callable[[bytes], object]], object]) -> tuple[bytes, Path]:
    """Record a run as VCD and as FST, and compare them by both readers."""
    pieces: list[bytes] = []
    converter = VcdToFst(folder / "all.fst")
    take_part(lambda piece: (pieces.append(piece), converter.feed(piece)))
    converter.close()
    text = b"".join(pieces)
    wanted = read_vcd(text.decode())
    assert read_libfst(folder / "all.fst") == wanted
    # wellen puts elements of arrays into a scope, and joins single bits of a vector
    seen = {name.replace(".[", "["): changes for name, changes in read_wellen(folder / "all.fst").items()}
    bits = {name for name in wanted if name not in seen}
    assert all(re.search(r"\w\[\d+\]$", name) and len(wanted[name][0][1]) == 1 for name in bits)
    joined = {re.sub(r"\[\d+\]$", "", name) for name in bits}
    assert {name: value for name, value in seen.items() if name not in joined} == {
        name: value for name, value in wanted.items() if name not in bits
    }
    assert len(wanted) > 15
    return text, folder / "all.fst"


@pytest.fixture(scope="module")
def faulty(build_dir, tmp_path_factory):
    """Record a register that spoils its seventh word."""
    rng = np.random.default_rng(5)
    words = [pack_fields([(rng.integers(0, 256, size=N_WORDS), 8)]) for _ in range(2)]
    cases = [
        Case(feeds={"i": Feed(words=each)}, expected={"o": each}, cycles=N_WORDS + 1, reset=False) for each in words
    ]
    job = Job(
        name="register 8 bits",
        component="Register",
        design=partial(Register, value),
        bench="streams",
        stimulus=stream_stimulus(cases, {"i": 8, "o": 8}, seed=1),
        gates=False,
    )
    waves = Waves(tmp_path_factory.mktemp("faulty"), cycles=12)
    workbench = Workbench(build_dir, waves=waves)
    model = workbench.model(job, "rtl")
    observed = workbench.observe(job, model)
    workbench.record(job, model, observed, ["first layer", "second"])
    return job, model, observed, waves, workbench


def test_the_window_is_around_the_first_mismatch(faulty) -> None:
    _, _, observed, waves, _ = faulty
    [made] = waves.recordings
    mismatch = int(observed["taken_o"][6])
    assert (made.mismatch, made.first, made.end) == (mismatch, mismatch - 8, mismatch + 4)
    assert made.path.name == "register_8_bits.fst"
    assert made.fst_bytes == made.path.stat().st_size
    assert sorted(path.name for path in made.path.parent.iterdir()) == [
        f"register_8_bits.{ending}" for ending in ("fst", "gtkw", "sucl")
    ]


def test_words_of_a_stream_are_in_the_cycles_of_their_handshakes(faulty) -> None:
    job, _, observed, waves, _ = faulty
    [made] = waves.recordings
    seen = Values(made.path)
    inside = [n for n, at in enumerate(observed["taken_o"]) if made.first <= at < made.end]
    assert 6 in inside and len(inside) >= 10
    for number in inside:
        middle = 10 * int(observed["taken_o"][number]) + 2  # before the rising edge at 5
        assert (seen.at("Register.o__valid", middle), seen.at("Register.o__ready", middle)) == (1, 1)
        word = int(observed["words_o"][number, 0])
        assert seen.at("Register.o__payload", middle) == seen.at("bench.o_taken", middle) == word
        assert seen.at("bench.o_expected", middle) == job.stimulus["words_o"][number, 0]
        assert seen.at("bench.o_word", middle) == number
        assert seen.at("bench.cycle", middle) == observed["taken_o"][number]
        assert seen.at("bench.case", middle) == 0
        assert seen.at("bench.o_mismatch", middle) == (number == 6)
    assert seen.rises("Register.clk") == [10 * cycle + 5 for cycle in range(max(made.first - 1, 0), made.end)]
    assert seen.rises("bench.o_mismatch") == [10 * made.mismatch - 5]


def test_views_of_a_stream(faulty) -> None:
    _, _, _, waves, _ = faulty
    [made] = waves.recordings
    traced = check_views(made.path)
    assert {"bench.o_expected[7:0]", "bench.o_mismatch", "Register.clk", "Register.count[7:0]"} <= set(traced)
    assert groups(made.path)[:4] == ["bench", "clock and reset", "stream i", "stream o"]
    view = made.path.with_suffix(".gtkw").read_text(encoding="utf-8")
    marker = 10 * made.mismatch + 2
    assert f"*-5.643856 {marker} -1" in view
    assert made.path.with_suffix(".sucl").read_text(encoding="utf-8").endswith(f"zoom_fit\ncursor_set {marker}\n")
    named = {each.full_name: str(each.enum_type) for each in pywellen.Waveform(str(made.path)).all_vars()}
    assert "first_layer" in named["bench.case"]


def test_every_value_of_a_cocotb_run_and_only_of_its_window(faulty, tmp_path) -> None:
    job, model, _, _, workbench = faulty
    first, end = 20, 70
    text, path = every_value(tmp_path, lambda take: workbench.observe(job, model, Tap(take, first, end)))
    times = [int(line[1:]) for line in text.decode().splitlines() if line.startswith("#")]
    assert times == list(range(2 * first - 1, 2 * end))
    assert path.stat().st_size < len(text)


def test_a_window_that_the_run_does_not_reach_leaves_no_file(faulty, tmp_path) -> None:
    job, model, observed, _, _ = faulty
    waves = Waves(tmp_path / "late", first=10_000)
    workbench = Workbench(None, waves=waves)
    workbench.record(job, model, observed)
    assert (waves.recordings, waves.short) == ([], ["register 8 bits"])
    assert not list(tmp_path.rglob("*.*"))


def test_a_failure_while_it_is_recorded_ends_the_simulation(faulty) -> None:
    job, model, _, _, workbench = faulty

    def full(piece: bytes) -> None:
        raise InvalidValueError("no space left")

    with pytest.raises(InvalidValueError, match=r"^no space left$"):
        workbench.observe(job, model, Tap(full, 0, 100))


def test_two_benches_of_a_name_have_two_files(tmp_path) -> None:
    waves = Waves(tmp_path)
    assert [waves._path(name).name for name in ("a b", "a-b", "a b", "--")] == [
        "a_b.fst",
        "a_b_2.fst",
        "a_b_3.fst",
        "waves.fst",
    ]


@pytest.mark.parametrize(
    ("mismatch", "first", "window"),
    [(None, None, (0, 100)), (10, None, (0, 100)), (500, None, (426, 526)), (500, 7, (7, 107)), (None, 7, (7, 107))],
)
def test_windows(mismatch, first, window) -> None:
    assert Waves(Path("unused"), cycles=100, first=first).window(mismatch) == window


def test_numbers_that_are_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"^`cycles` must be an integer from 1 to 1099511627776, got 0$"):
        Waves(Path("unused"), cycles=0)
    with pytest.raises(InvalidValueError, match=r"^`first` must be an integer from 0 to 1125899906842624, got -1$"):
        Waves(Path("unused"), first=-1)


def test_rows_of_a_decoder(build_dir, tmp_path, monkeypatch) -> None:
    [job] = szt.decoder_jobs(DESIGNS, 0, None)
    spoilt = {
        **job.stimulus,
        "expected_negate": job.stimulus["expected_negate"] ^ np.array([0, 0, 1, 0], dtype=np.uint8),
    }
    job = Job(**{**{name: getattr(job, name) for name in job.__dataclass_fields__}, "stimulus": spoilt})
    workbench = Workbench(build_dir, waves=Waves(tmp_path))
    model = workbench.model(job, "rtl")
    outcome = workbench.run(job, "rtl", model)
    workbench.record(job, model, outcome.observed)
    [made] = workbench.waves.recordings
    assert (made.mismatch, made.first, made.end) == (3, 0, 5)
    seen = Values(made.path)
    for row, code in enumerate(job.stimulus["in_code"].tolist()):
        time = 10 * (row + 1)
        assert seen.at("SZTDecoder.code", time) == code
        assert seen.at("SZTDecoder.negate", time) == outcome.observed["out_negate"][row]
        counts = spoilt.get("check_negate", np.ones(4))[row]
        assert seen.at("bench.negate_expected", time) == (spoilt["expected_negate"][row] if counts else "x")
        assert seen.at("bench.mismatch", time) == (row == 2)
    check_views(made.path)


@pytest.fixture(scope="module")
def library(build_dir):
    return Workbench(build_dir, waves=Waves(Path("unused"))).coprocessor(emitted(UNIT))


def test_every_value_of_the_coprocessor(library, tmp_path) -> None:
    case = random_cases(UNIT, np.random.default_rng(3), 8, stalls=False)[0]

    def run(take) -> None:
        with BatchCoprocessor(library, case.memory.copy(), tap=Tap(take, 5, 150)) as design:
            for offset, register in coprocessor.register_writes(case.job, UNIT):
                design.write(offset, register)
            design.write(coprocessor.offset("CONTROL"), coprocessor.control("start"))
            design.step(120)

    text, path = every_value(tmp_path, run)
    widths = {each.bitwidth for each in pywellen.Waveform(str(path)).all_vars()}
    assert max(widths) > 300 and {1, 64} <= widths
    assert b"#10\n" in text and b"#9\n" not in text and b"#299\n" in text and b"#300\n" not in text


def test_what_a_coprocessor_stores_is_beside_what_it_should(library, tmp_path, monkeypatch) -> None:
    cases = [case for case in random_cases(UNIT, np.random.default_rng(4), 12, stalls=False) if not case.act][:4]
    honest = coprocessor.Session.of

    def spoilt(case, unit):
        session = honest(case, unit)
        if case is cases[2]:
            low, _ = case.job.spans(unit)["c"]
            session.memory[low] ^= 4
        return session

    monkeypatch.setattr(coprocessor.Session, "of", spoilt)
    waves = Waves(tmp_path, cycles=60)
    result, _ = run_batch(library, UNIT, cases, name="spoilt", waves=waves)
    assert not result.passed
    [made] = waves.recordings
    assert made.first <= made.mismatch < made.end
    seen = Values(made.path)
    assert seen.rises("bench.mismatch")[0] == 10 * made.mismatch
    at = 10 * made.mismatch + 2
    low, _ = cases[2].job.spans(UNIT)["c"]
    assert seen.at("bench.case", at) == 2
    assert seen.at("bench.store_address", at) == low // UNIT.data_bytes * UNIT.data_bytes
    lane = 8 * (low % UNIT.data_bytes)
    assert seen.at("bench.stored", at) ^ seen.at("bench.stored_expected", at) == 4 << lane
    assert seen.at("MatmulCoprocessor.m_axi_wvalid", at) == seen.at("MatmulCoprocessor.m_axi_wready", at) == 1
    strobe = seen.at("MatmulCoprocessor.m_axi_wstrb", at)
    mask = sum(0xFF << 8 * byte for byte in range(UNIT.data_bytes) if strobe >> byte & 1)
    assert (seen.at("MatmulCoprocessor.m_axi_wdata", at) ^ seen.at("bench.stored", at)) & mask == 0
    assert seen.at("MatmulCoprocessor.fsm_state", at) == STATES["fsm_state"].labels.index("RUN")
    traced = check_views(made.path)
    assert {"MatmulCoprocessor.fsm_state[1:0]", "bench.stored_expected[63:0]"} <= set(traced)
    shown = groups(made.path)
    assert {"bench", "clock and reset", "m_axi AR", "m_axi R", "m_axi W", "s_axil AW", "control"} <= set(shown)
    assert any(name.startswith("path.array.pe_0_0, one of 2") for name in shown)


def test_a_network_names_its_jobs(library, tmp_path) -> None:
    net = Net(np.random.default_rng(1), 4, 4, 4)
    net.conv(4, (3, 3), padding=(1, 1, 1, 1))
    net.head(3)
    program = compile_jobs(net.graph(), UNIT, batch=2)
    images = np.random.default_rng(2).integers(-128, 128, (2, 4, 4, 4))
    waves = Waves(tmp_path, first=30, cycles=500)
    run = run_network(program, images, library=library, waves=waves, name="net")
    assert run.passed
    np.testing.assert_array_equal(run.outputs["fc"], program.graph.run(images)["fc"])
    [made] = waves.recordings
    assert (made.path.name, made.first, made.end, made.mismatch) == ("net.fst", 30, 530, None)
    named = {each.full_name: str(each.enum_type) for each in pywellen.Waveform(str(made.path)).all_vars()}
    assert program.jobs[0].name.replace(" ", "_") in named["bench.case"]
    assert "IDLE" in named["MatmulCoprocessor.fsm_state"]
    check_views(made.path)


def test_names_of_states_are_the_components() -> None:
    made = []

    class Watched(MatmulCoprocessor):
        def elaborate(self, platform: object) -> Module:
            made.append(super().elaborate(platform))
            return made[0]

    Fragment.get(Watched(UNIT.machine, burst_beats=4), None)
    [fsm] = made[0]._generated.values()
    states = sorted(fsm.encoding, key=fsm.encoding.__getitem__)
    assert STATES["fsm_state"].labels == tuple(states)


def test_only_libraries_that_can_record_take_a_tap(build_dir) -> None:
    [job] = szt.decoder_jobs(DESIGNS, 0, None)
    workbench = Workbench(build_dir)
    plain = workbench.library(workbench.verilog(job, "rtl"))
    tap = Tap(lambda piece: None, 0, 4)
    message = "waveforms are of one lane, of a library that was built with `waves`"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message)}$"):
        workbench.observe(job, plain, tap)
    with pytest.raises(InvalidValueError, match=r"^`tap` needs a library that was built with `waves`$"):
        BatchCoprocessor(plain, np.zeros(64, dtype=np.uint8), tap=tap)
