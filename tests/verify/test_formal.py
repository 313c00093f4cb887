"""Proofs: every claim holds for the right components, and a wrong one gives inputs that show it."""

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tetrit import formats, verify
from tetrit.cli.verify import command
from tetrit.errors import InvalidValueError
from tetrit.hardware.simd_engine import SIMD_FORMATS
from tetrit.rtl.simd.multiplier import SignificandMultiplier
from tetrit.verify import formal
from tetrit.verify.suites.simd_broken import LeakingMultiplier, UncutDecoder
from tetrit.verify.suites.simd_designs import SIMD_DESIGNS, SimdDesigns


@pytest.fixture(scope="module")
def found(build_dir):
    return verify.prove(build_dir=build_dir)


def test_everything_is_proved(found):
    assert [(proof.name, proof.counterexample) for proof in found if not proof.proved] == []
    assert all(proof.seconds > 0 and proof.counterexample == "" for proof in found)


@pytest.mark.parametrize("name", SIMD_FORMATS)
def test_each_format_is_proved_in_each_lane_of_each_number_of_lanes(found, name):
    lanes = [count for count in (1, 2, 4) if count * formats.get(name).bits <= 16]
    expected = {
        f"{name} in lane {lane} of {count} through decoder and encoder" for count in lanes for lane in range(count)
    }
    assert {proof.name for proof in found if proof.component == "SimdCodes" and proof.name.startswith(name)} == expected


def test_the_products_that_are_proved(found):
    claims = [(proof.name, proof.method) for proof in found if proof.component == "SimdMac"]
    assert claims == [
        ("four products of 2 x 2 bits", "SAT"),
        ("two products of 6 x 6 bits", "SAT"),
        *(
            (f"one product of 13 x 13 bits, bits {low} to {high} of the second factor", "SAT")
            for low, high in ((0, 2), (3, 6), (7, 9), (10, 12))
        ),
        ("one product of 13 x 13 bits", "every case"),
    ]


def test_a_component_without_proofs(build_dir):
    assert verify.prove(["ShiftPE"], build_dir=build_dir) == []


def refuted(designs, part):
    """Return the proofs of the claims whose names have a part."""
    claims = [claim for claim in formal.claims(designs) if part in claim.name]
    return formal.solve(claims, 60)


def test_a_wrong_decoder_gives_a_counterexample():
    """With a broken decoder, bits cross from the low byte; the inputs found show it."""
    proofs = refuted(SimdDesigns(decoder=UncutDecoder), "posit8_0 in lane")
    wrong = [proof for proof in proofs if not proof.proved]
    assert [proof.name for proof in wrong] == ["posit8_0 in lane 1 of 2 through decoder and encoder"]
    match = re.fullmatch(r"code=(?P<code>[0-9a-f]+), word=(?P<word>[0-9a-f]+)", wrong[0].counterexample)
    assert match is not None
    assert int(match["code"], 16) != int(match["word"], 16) >> 8


def test_a_wrong_multiplier_gives_a_counterexample():
    [proof] = refuted(SimdDesigns(multiplier=LeakingMultiplier), "two products")
    assert not proof.proved
    match = re.fullmatch(r"a=([0-9a-f]+), b=([0-9a-f]+), product=([0-9a-f]+)", proof.counterexample)
    assert match is not None
    a, b, product = (int(text, 16) for text in match.groups())
    assert product != (a & 63) * (b & 63) | ((a >> 7) * (b >> 7)) << 14


class WrongOnce(SignificandMultiplier):
    """One of 2**26 products of 13 bits is wrong."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        with m.If(self.lanes.one & (self.a == 5000) & (self.b == 4097)):
            m.d.comb += self.product.eq(1)
        return m


def test_one_wrong_product_of_all_is_found(build_dir):
    proof = formal.every_product(SimdDesigns(multiplier=WrongOnce), build_dir)
    assert (proof.proved, proof.counterexample) == (False, "a=1388, b=1001, product=1")


def test_a_solver_without_time_gives_no_answer(monkeypatch):
    monkeypatch.setattr(formal.yosys, "run", lambda script, files, outputs: dict.fromkeys(outputs, "TIMEOUT"))
    [proof] = formal.solve([claim for claim in formal.claims(SIMD_DESIGNS) if "two products" in claim.name], 1)
    assert (proof.proved, proof.counterexample) == (False, "no answer")


def test_no_time(build_dir):
    with pytest.raises(InvalidValueError, match=r"\A`timeout_s` must be a positive integer, got 0\Z"):
        verify.prove(timeout_s=0, build_dir=build_dir)


def test_products_of_lanes_lie_where_the_miter_says():
    fields = formal.PRODUCT_FIELDS
    for lanes, width in ((1, 13), (2, 6), (4, 2)):
        assert len(fields[lanes]) == lanes
        places = np.concatenate([np.arange(2 * low, 2 * high) for low, high in fields[lanes]])
        assert len(np.unique(places)) == len(places) == 2 * width * lanes


def shown(monkeypatch, found, *arguments):
    """Run the command with these proofs; return its exit code, its output, and what was to be proved."""
    asked = []

    def prove(components, *, build_dir):
        asked.append((components, build_dir))
        return found

    monkeypatch.setattr(verify, "prove", prove, raising=False)
    outcome = CliRunner().invoke(command, ["--formal", *arguments])
    return outcome.exit_code, outcome.output, asked


def test_the_command_shows_each_claim_and_leaves_with_1_if_one_fails(monkeypatch):
    right = formal.Proof(name="one", component="SimdMac", method="SAT", proved=True, counterexample="", seconds=1.26)
    wrong = formal.Proof(
        name="other", component="SimdMac", method="every case", proved=False, counterexample="a=1", seconds=20.0
    )
    code, output, asked = shown(monkeypatch, [right, wrong], "SimdMac", "--keep", "models")
    assert output == (
        "claim  component  by          seconds  result\n"
        "one    SimdMac    SAT             1.3  proved\n"
        "other  SimdMac    every case     20.0  FAILED: a=1\n"
        "2 claims: 1 proved, 1 failed\n"
    )
    assert (code, asked) == (1, [(("SimdMac",), Path("models"))])
    assert shown(monkeypatch, [right], "simd")[0] == 0
