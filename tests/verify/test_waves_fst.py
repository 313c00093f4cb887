"""FST files against the code of the viewers: libfst, which is GTKWave's, and wellen, which is Surfer's.

What a file must say comes from a reader of VCD that is written here, line by line, and shares nothing with the package.
"""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pylibfst
import pytest
import pywellen

from tetrit.errors import InvalidValueError
from tetrit.verify.waves import vcd_to_fst
from tetrit.verify.waves.fst import Enumeration, FstWriter
from tetrit.verify.waves.header import parse_header
from tetrit.verify.waves.vcd import Track, VcdToFst

Changes = dict[str, list[tuple[int, str]]]
_ZERO_ONE = "01"


def read_vcd(text: str) -> Changes:
    """Return the changes of every variable, the last of each time, by its path; values of full width, lower case."""
    head, _, body = text.partition("$enddefinitions")
    path: list[str] = []
    names: dict[str, list[str]] = {}
    widths: dict[str, int] = {}
    for line in head.splitlines():
        words = line.split()
        if words[:1] == ["$scope"]:
            path.append(words[2])
        elif words[:1] == ["$upscope"]:
            path.pop()
        elif words[:1] == ["$var"]:
            names.setdefault(words[3], []).append(".".join((*path, words[4])))
            widths[words[3]] = int(words[2])
    raw: dict[str, dict[int, str]] = {code: {} for code in names}
    now = 0
    for line in body.splitlines()[1:]:
        if line.startswith("#"):
            now = int(line[1:])
        elif line and line[0] in "bB":
            value, code = line[1:].split()
            value = value.lower()
            raw[code][now] = value.rjust(widths[code], "0" if value[0] in _ZERO_ONE else value[0])
        elif line and line[0] not in "$ ":
            raw[line[1:]][now] = line[0].lower()
    return {name: _changes(list(raw[code].items())) for code, group in names.items() for name in group}


def _changes(pairs: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Leave out what is no change."""
    return [pair for n, pair in enumerate(pairs) if n == 0 or pairs[n - 1][1] != pair[1]]


def read_libfst(path: Path) -> Changes:
    """Return the same of an FST file, by GTKWave's library."""
    file = pylibfst.lib.fstReaderOpen(str(path).encode())
    assert file != pylibfst.ffi.NULL
    _, signals = pylibfst.get_scopes_signals2(file)
    found: dict[int, dict[int, str]] = {handle: {} for handle in signals.by_handle}

    def take(_: object, now: int, handle: int, value: object) -> None:
        found[handle][now] = pylibfst.string(value)

    pylibfst.lib.fstReaderSetFacProcessMaskAll(file)
    assert pylibfst.fstReaderIterBlocks(file, take)
    pylibfst.lib.fstReaderClose(file)
    return {
        re.sub(r" \[.*", "", name): _changes(list(found[each.handle].items())) for name, each in signals.by_name.items()
    }


def read_wellen(path: Path) -> Changes:
    """Return the same by Surfer's library, which gives binary values as numbers."""
    file = pywellen.Waveform(str(path))
    return {
        each.full_name: _changes([(now, _text(value, each.bitwidth)) for now, value in dict(each.tv).items()])
        for each in file.all_vars()
    }


def _text(value: object, bits: int) -> str:
    return f"{value:0{bits}b}" if isinstance(value, int) else str(value).lower()


READERS = pytest.mark.parametrize("read", [read_libfst, read_wellen])


def convert(tmp_path: Path, text: str) -> Path:
    """Write and convert a VCD."""
    (tmp_path / "a.vcd").write_text(text, encoding="utf-8")
    assert vcd_to_fst(tmp_path / "a.vcd", tmp_path / "a.fst") == len(text.encode())
    return tmp_path / "a.fst"


def _code(number: int) -> str:
    code = ""
    number += 1
    while number:
        number -= 1
        code += chr(33 + number % 94)
        number //= 94
    return code


def random_vcd(rng: np.random.Generator, widths: list[int], n_times: int, levels: str = "01xz", start: int = 0) -> str:
    """Return a VCD of scopes two deep with aliases, in which signals change now and then."""
    lines = ["$timescale 10 ps $end", "$scope module top $end"]
    for number, bits in enumerate(widths):
        if number % 5 == 0:
            lines.append(f"$scope module part_{number} $end")
        span = f" [{bits - 1}:0]" if bits > 1 else ""
        lines.append(f"$var {'reg' if number % 2 else 'wire'} {bits} {_code(number)} s{number}{span} $end")
        if number % 5 == 4:
            lines.append("$upscope $end")
    lines += ["$upscope $end"] * (1 + (len(widths) % 5 != 0))
    lines += ["$scope module alias $end", f"$var wire {widths[0]} {_code(0)} other $end", "$upscope $end"]
    lines.append("$enddefinitions $end")
    now = start
    for step in range(n_times):
        lines.append(f"#{now}")
        for number in range(len(widths)) if step == 0 else rng.integers(0, len(widths), 3).tolist():
            bits = widths[number]
            text = "".join(rng.choice(list(levels if rng.random() < 0.2 else "01"), bits))
            if bits > 1 and rng.random() < 0.3:
                text = text.lstrip("0") or "0"
            lines.append(text + _code(number) if bits == 1 else f"b{text} {_code(number)}")
        now += int(rng.integers(1, 1000))
    return "\n".join(lines) + "\n"


@READERS
@pytest.mark.parametrize("seed", range(3))
def test_every_value_of_random_signals(tmp_path: Path, seed: int, read: Callable[[Path], Changes]) -> None:
    rng = np.random.default_rng(seed)
    widths = [1, 8, *rng.choice([1, 2, 7, 8, 9, 31, 32, 33, 63, 64, 65, 97, 128, 514], 38).tolist()]
    text = random_vcd(rng, widths, 400)
    assert read(convert(tmp_path, text)) == read_vcd(text)


@READERS
def test_many_blocks(tmp_path: Path, read: Callable[[Path], Changes]) -> None:
    text = random_vcd(np.random.default_rng(7), [1, 4, 70, 1, 16], 3000)
    with VcdToFst(tmp_path / "a.fst", block=500) as target:
        data = text.encode()
        for at in range(0, len(data), 777):  # pieces end within lines
            target.feed(data[at : at + 777])
    blocks = _sections(tmp_path / "a.fst").count(8)
    assert blocks > 30
    assert read(tmp_path / "a.fst") == read_vcd(text)


def _sections(path: Path) -> list[int]:
    """Return the kinds of the blocks of a file."""
    data, at, kinds = path.read_bytes(), 0, []
    while at < len(data):
        kinds.append(data[at])
        at += 1 + int.from_bytes(data[at + 1 : at + 9], "big")
    assert at == len(data)
    return kinds


@READERS
def test_times_beyond_32_bits(tmp_path: Path, read: Callable[[Path], Changes]) -> None:
    text = random_vcd(np.random.default_rng(1), [1, 12], 50, levels="01", start=2**40 + 123)
    seen = read(convert(tmp_path, text))
    assert seen == read_vcd(text)
    assert seen["alias.other"][0][0] == 2**40 + 123


@READERS
def test_a_single_time_and_none(tmp_path: Path, read: Callable[[Path], Changes]) -> None:
    head = "$scope module a $end\n$var wire 3 ! x [2:0] $end\n$upscope $end\n$enddefinitions $end\n"
    assert read(convert(tmp_path, f"{head}#5\nb101 !\n")) == {"a.x": [(5, "101")]}
    silent = read(convert(tmp_path, head))
    assert silent in ({"a.x": []}, {"a.x": [(0, "xxx")]})  # a reader may say that it is unknown


@READERS
def test_unknown_until_the_first_value(tmp_path: Path, read: Callable[[Path], Changes]) -> None:
    head = '$scope module a $end\n$var wire 1 ! x $end\n$var wire 1 " y $end\n$upscope $end\n$enddefinitions $end\n'
    assert read(convert(tmp_path, f'{head}#0\n0!\n#4\n1"\n')) == {"a.x": [(0, "0")], "a.y": [(4, "1")]}


def test_last_value_of_a_time_counts_and_comments_do_not(tmp_path: Path) -> None:
    head = "$scope module a $end\n$var wire 1 ! x $end\n$upscope $end\n$enddefinitions $end\n"
    text = f"{head}$dumpvars\n#3\n0!\n1!\n$end\n#3\n0!\n#4\n1!"
    assert read_wellen(convert(tmp_path, text)) == {"a.x": [(3, "0"), (4, "1")]}


def test_the_same_text_gives_the_same_file(tmp_path: Path) -> None:
    text = random_vcd(np.random.default_rng(2), [1, 9, 64], 100)
    first = convert(tmp_path, text).read_bytes()
    assert convert(tmp_path, text).read_bytes() == first


def test_a_wrong_bit_is_seen(tmp_path: Path) -> None:
    text = random_vcd(np.random.default_rng(3), [1, 9, 64], 100, levels="01")
    lines = text.splitlines()
    place = next(n for n, line in enumerate(lines) if n > 80 and line.startswith("b") and len(line) > 60)
    lines[place] = lines[place].translate(str.maketrans("01", "10"))[:1] + lines[place][1:]
    flipped = "b" + ("1" if lines[place][1] == "0" else "0") + lines[place][2:]
    broken = "\n".join([*lines[:place], flipped, *lines[place + 1 :]]) + "\n"
    assert read_wellen(convert(tmp_path, broken)) != read_vcd(text)


def test_tracks_scopes_scale_and_names_of_values(tmp_path: Path) -> None:
    states = Enumeration(name="state", labels=("IDLE", "RUN"), bits=2)
    text = (
        "$timescale 1ps $end $scope module dut $end\n$var wire 1 ! clk $end\n$var wire 2 # port [1:0] $end\n"
        "$scope module dut $end\n$var wire 1 ! clk $end\n$var wire 2 # state [1:0] $end\n$upscope $end\n$upscope $end\n"
        "$enddefinitions $end\n#10\n0!\nb00 #\n#11\n1!\n#12\n0!\nb01 #\n"
    )
    tracks = [
        Track.of("number", 70, [0, 5, 11], [1, 2, 2**69 + 3]),
        Track.of("known", 1, [10, 12], [None, 1]),
        Track.of("late", 4, [12, 99], np.array([9, 10])),
    ]
    with VcdToFst(
        tmp_path / "a.fst", top="dut", name="Unit", scale=5, exponent=-9, tracks=tracks, enumerations={"state": states}
    ) as target:
        target.feed(text.encode())
    wanted = {
        "bench.number": [(50, f"{2:070b}"), (55, f"{2**69 + 3:070b}")],
        "bench.known": [(50, "x"), (60, "1")],
        "bench.late": [(60, "1001")],
        "Unit.clk": [(50, "0"), (55, "1"), (60, "0")],
        "Unit.state": [(50, "00"), (60, "01")],
    }
    assert read_wellen(tmp_path / "a.fst") == wanted
    assert [signal.path for signal in target.signals] == list(wanted)
    file = pywellen.Waveform(str(tmp_path / "a.fst"))
    named = {each.full_name: each.enum_type for each in file.all_vars()}
    assert named["Unit.state"] is not None and named["Unit.clk"] is None
    assert "IDLE" in str(named["Unit.state"])
    assert "ns" in str(file.timescale.unit).lower() or "nano" in str(file.timescale.unit).lower()


def test_tracks_change_when_nothing_else_does(tmp_path: Path) -> None:
    head = b"$scope module a $end\n$var wire 1 ! x $end\n$upscope $end\n$enddefinitions $end\n"
    track = Track.of("count", 3, range(8), np.arange(8))
    for until, last in ((None, 5), (6, 6)):
        with VcdToFst(tmp_path / "a.fst", tracks=[track], until=until, block=1) as target:
            target.feed(head + b"#1\n0!\n#3\n1!\n#5\n0!\n")
        assert target.end_time == last
        for read in (read_libfst, read_wellen):
            assert read(tmp_path / "a.fst") == {
                "bench.count": [(time, f"{time:03b}") for time in range(1, last + 1)],
                "a.x": [(1, "0"), (3, "1"), (5, "0")],
            }


def test_rootio_beside_the_design_is_left_out() -> None:
    header = parse_header(
        "$scope module $rootio $end $var wire 1 ! clk $end $upscope $end "
        "$scope module dut $end $var wire 1 ! clk $end $upscope $end"
    ).inside("dut", "Unit")
    assert [(each.scope, each.variable and each.variable.name) for each in header.declarations] == [
        ("Unit", None),
        ("", "clk"),
        ("", None),
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("#1\n0?\n", "a line of the VCD stands for no variable: '0?'"),
        ("#1\nb2 !\n", "a line of the VCD is no value of bits: 'b2 !'"),
        ("#1\nb !\n", "a line of the VCD is no value of bits: 'b !'"),
        ("#5\n0!\n#4\n1!\n", "a line of the VCD is before the last time: '#4'"),
    ],
)
def test_what_is_no_vcd(tmp_path: Path, body: str, message: str) -> None:
    head = "$scope module a $end\n$var wire 1 ! x $end\n$upscope $end\n$enddefinitions $end\n"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message)}$"):
        convert(tmp_path, head + body)
    assert [path.name for path in tmp_path.iterdir()] == ["a.vcd"]


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("$var real 64 ! x $end", "only vectors of bits are converted, got the real 'x'"),
        (
            "$var wire 0 ! x $end",
            "a VCD file's variable must have a kind, a width, a code and a name, got 'wire 0 ! x'",
        ),
        ("$timescale 3 ns $end", "a VCD file's timescale must be like '1 ns', got '3 ns'"),
        ("$upscope $end", "a VCD file ends a scope that it did not begin"),
        ("$scope module $end", "a VCD file's scope must have a kind and a name, got 'module'"),
    ],
)
def test_declarations_that_are_refused(head: str, message: str) -> None:
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message)}$"):
        parse_header(head)


def test_a_vcd_that_ends_early_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match=r"^the VCD ends within its declarations$"):
        convert(tmp_path, "$scope module a $end\n")
    with pytest.raises(InvalidValueError, match=r"^cannot read '.*/none.vcd': No such file or directory$"):
        vcd_to_fst(tmp_path / "none.vcd", tmp_path / "a.fst")
    assert [path.name for path in tmp_path.iterdir()] == ["a.vcd"]


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a.fst").mkdir()
    with pytest.raises(InvalidValueError, match=r"^cannot write '.*/a\.fst': it is no regular file$"):
        FstWriter(tmp_path / "a.fst")


@pytest.mark.parametrize(
    ("labels", "bits", "message"),
    [
        (("a b",), 2, "names of an enumeration must be plain words, got 'a b'"),
        (("a", "b", "c"), 1, "`labels` must be 1 to 2, got 3"),
        ((), 1, "`labels` must be 1 to 2, got 0"),
    ],
)
def test_enumerations_that_are_refused(labels: tuple[str, ...], bits: int, message: str) -> None:
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message)}$"):
        Enumeration(name="n", labels=labels, bits=bits)


def test_times_of_blocks_must_follow(tmp_path: Path) -> None:
    none = np.zeros(0, dtype=np.int64)
    rest = (none, none, none, np.zeros(0, dtype=np.uint8))
    message = "`times` must begin with the last time so far, 9, got 10"
    with pytest.raises(InvalidValueError, match=f"^{message}$"), FstWriter(tmp_path / "a.fst") as file:
        file.block(np.array([1, 9]), *rest)
        file.block(np.array([10, 11]), *rest)
    with (
        pytest.raises(InvalidValueError, match=r"^`times` must ascend from 0 or more$"),
        FstWriter(tmp_path / "a.fst") as file,
    ):
        file.block(np.array([3, 3]), *rest)
    assert not list(tmp_path.iterdir())


_LONG = """
import resource, sys
from pathlib import Path
from tetrit.verify.waves.vcd import VcdToFst
head = b"$scope module a $end\\n" + b"".join(
    b"$var wire 32 %c s%d $end\\n" % (33 + n, n) for n in range(20)
) + b"$upscope $end\\n$enddefinitions $end\\n"
lines = [b"b%s %c\\n" % (format(n * 2654435761 % 2**32, "032b").encode(), 33 + n % 20) for n in range(2000)]
with VcdToFst(Path(sys.argv[1]), block=1 << 20) as target:
    target.feed(head)
    for step in range(int(sys.argv[2])):
        target.feed(b"#%d\\n" % step + b"".join(lines[(20 * step + n) % 2000] for n in range(20)))
print(target.bytes_read, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    peaks = []
    for n_times in (5_000, 25_000):
        done = subprocess.run(
            [sys.executable, "-c", _LONG, str(tmp_path / "a.fst"), str(n_times)],
            capture_output=True,
            text=True,
            check=True,
        )
        n_bytes, peak = map(int, done.stdout.split())
        assert n_bytes > 690 * n_times
        peaks.append(peak)
    assert peaks[1] < 1.15 * peaks[0]  # five times as long, 14 MB more text


def test_an_interruption_leaves_no_file(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _LONG, str(tmp_path / "a.fst"), "100000000"], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [path.name for path in tmp_path.iterdir()] == [f".a.fst.{process.pid}.partial"]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode not in (0, None)
    assert not list(tmp_path.iterdir())
