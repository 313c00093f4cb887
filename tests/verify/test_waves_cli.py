"""`--waves` on the command line: files, what is said of them, and one line for what cannot be."""

from pathlib import Path

import pytest
import pywellen

from tetrit.cli import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tetrit(capsys):
    """Call `main`; return the exit code and what it printed."""

    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call


def test_verify_writes_waveforms(tetrit, build_dir, tmp_path):
    code, out, err = tetrit(
        "verify", "SZTDecoder", "--keep", build_dir, "--waves", tmp_path / "w", "--waves-cycles", "3"
    )
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert f"waveforms in {tmp_path / 'w'}:" in lines
    row = lines[-1].split()
    assert row[:4] == ["SZTDecoder.fst", "0", "to", "2"]
    assert sorted(path.name for path in (tmp_path / "w").iterdir()) == [
        "SZTDecoder.fst",
        "SZTDecoder.gtkw",
        "SZTDecoder.sucl",
    ]
    found = {each.full_name: each for each in pywellen.Waveform(str(tmp_path / "w" / "SZTDecoder.fst")).all_vars()}
    assert [time for time, _ in found["SZTDecoder.code"].tv][-1] <= 20
    assert len(found) == int(row[-3])


def test_a_window_that_begins_too_late(tetrit, build_dir, tmp_path):
    code, out, _ = tetrit("verify", "SZTDecoder", "--keep", build_dir, "--waves", tmp_path / "w", "--waves-from", "9")
    assert code == 0
    assert out.splitlines()[-1] == "no waveform of 'SZTDecoder': it ends before cycle 9"
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--waves-cycles", "5"], "--waves-cycles is about what --waves records"),
        (["--waves-from", "5"], "--waves-from is about what --waves records"),
        (["--waves", "x", "--formal"], "--waves is about runs, and --formal proves without one"),
        (["--waves", "x", "--waves-cycles", "0"], "Invalid value for '--waves-cycles': 0 is not in the range"),
        (["--waves", "x", "--waves-from", "-1"], "Invalid value for '--waves-from': -1 is not in the range"),
        (["--waves", __file__], f"cannot write waveforms to '{__file__}': it is no folder"),
    ],
)
def test_options_that_are_refused(tetrit, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = tetrit("verify", "SZTDecoder", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"tetrit: error: {message}")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_run_refuses_a_window_without_waveforms(tetrit, tmp_path):
    code, out, err = tetrit("run", tmp_path / "no.toml", "--out", tmp_path / "out", "--waves-from", "5")
    assert (code, out) == (2, "")
    assert err == "tetrit: error: --waves-from is about what --waves records\n"


def test_run_refuses_waveforms_of_nothing(tetrit, tmp_path):
    text = (ROOT / "examples" / "digits" / "digits.toml").read_text(encoding="utf-8")
    head, _, rest = text.partition("[verify]")
    lines = rest.splitlines()
    rest = "\n".join("images = 0" if line.startswith("images") else line for line in lines)
    (tmp_path / "a.toml").write_text(f"{head}[verify]{rest}\n", encoding="utf-8")
    code, out, err = tetrit("run", tmp_path / "a.toml", "--out", tmp_path / "out", "--waves")
    assert (code, out) == (2, "")
    assert err == (
        f"tetrit: error: {tmp_path / 'a.toml'}: [verify]: `images` is 0, so there is nothing to record waveforms of\n"
    )
    assert not (tmp_path / "out").exists()
