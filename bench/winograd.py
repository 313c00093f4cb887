"""Tables of Winograd's convolution: conditioning, growth, widths, and errors on real layers, for the manual.

Run from the repository root: ``python bench/winograd.py`` (a minute); writes the tables of ``docs/winograd.md`` between
its marks, and ``build/bench/winograd.json``. The layers are those of a LeNet that is trained here on scikit-learn's
digits, and random ones of ResNet's shape.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tetrit import hardware
from tetrit.files import write_atomic
from tetrit.hls.integer import Window
from tetrit.hls.winograd import choose, condition, growth, measure, transform, widths
from tetrit.hls.winograd.cost import additions, shares
from tetrit.train import digits

PAGE = Path("docs/winograd.md")
OUT = Path("build/bench/winograd.json")
SETS = (
    (2, "standard"),
    (4, "standard"),
    (4, "nova"),
    (6, "standard"),
    (6, "halves"),
    (6, "nova"),
    (8, "standard"),
    (8, "nova"),
)
ARITHMETICS = ("float32", "float16", "bf16", "int8", "fp4_e2m1", "posit8_0", "posit16_1")


def name(m: int, points: str) -> str:
    """Return the title of a row."""
    return f"F({m},3) {points}"


def number(value: float) -> str:
    """Return a number with two digits."""
    if not np.isfinite(value):
        return "overflow"
    return f"{value:.2g}" if value < 100 else f"{value:,.0f}"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def transforms() -> str:
    """Return what the transforms are."""
    rows = []
    for m, points in SETS:
        f = transform(m, 3, points)
        grown = growth(f)
        rows.append(
            [
                name(m, points),
                f"{f.saving:.2f}",
                f"{condition(f.points):,.1f}",
                "yes" if f.dyadic else "no",
                number(grown.worst),
                number(grown.typical),
            ]
        )
    return table(["transform", "saving in 2-D", "kappa", "exact in binary", "worst growth", "typical growth"], rows)


def integers() -> str:
    """Return widths of exact integers, for 64 channels."""
    rows = []
    for m, points in SETS:
        f = transform(m, 3, points)
        line = [name(m, points)]
        for weight in ((-1, 1), (-128, 127)):
            found = widths(f, f, act=(-128, 127), weight=weight, channels=64)
            wide = max(found.output_bits, found.acc_bits)
            line += [
                str(found.act_bits),
                str(found.weight_bits),
                str(found.acc_bits),
                f"{wide}{' (too wide)' if wide > 63 else ''}",
            ]
        line.append(f"{f.integer.denominator**2:,}")
        rows.append(line)
    kinds = [f"{kind}: {part}" for kind in ("SZT", "int8") for part in ("input", "weight", "sum", "output")]
    return table(["transform", *kinds, "divisor"], rows)


def layers() -> list[tuple[str, Any, Any]]:
    """Return inputs and weights: a convolution trained on digits, and one of ResNet's shape with random numbers."""
    import torch

    data = digits.load()
    x = torch.tensor(data.train_x.reshape(-1, 1, 8, 8), dtype=torch.float32) / 16
    y = torch.tensor(data.train_y)
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(16, 32, 3, padding=1), torch.nn.ReLU(),
        torch.nn.Flatten(), torch.nn.Linear(32 * 64, 10),
    )  # fmt: skip
    optimiser = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(12):
        order = torch.randperm(len(x))
        for start in range(0, len(x), 64):
            part = order[start : start + 64]
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(net(x[part]), y[part]).backward()
            optimiser.step()
    test = torch.tensor(data.test_x[:64].reshape(-1, 1, 8, 8), dtype=torch.float32) / 16
    with torch.no_grad():
        right = (net(test).argmax(1) == torch.tensor(data.test_y[:64])).float().mean()
        inner = net[1](net[0](test)).numpy()
    sys.stderr.write(f"accuracy of the network: {100 * float(right):.1f} % of 64 images\n")
    rng = np.random.default_rng(0)
    return [
        ("trained on digits, 16 to 32 channels, 64 images", inner, net[2].weight.detach().numpy()),
        (
            "random, 64 to 64 channels of 28 x 28",
            np.maximum(rng.normal(size=(1, 64, 28, 28)), 0),
            rng.normal(size=(64, 64, 3, 3)),
        ),
    ]


def errors(x: Any, w: Any) -> tuple[str, dict[str, Any]]:
    """Return root mean square errors, relative to the results."""
    rows, found = [], {}
    first = transform(2, 3)
    direct = {a: measure(x, w, first, arithmetic=a, padding=1).direct_rms for a in ARITHMETICS}
    rows.append(["direct", *(number(direct[a]) for a in ARITHMETICS)])
    for m, points in SETS:
        f = transform(m, 3, points)
        line = {a: measure(x, w, f, arithmetic=a, padding=1) for a in ARITHMETICS}
        found[name(m, points)] = {a: vars(one) for a, one in line.items()}
        rows.append([name(m, points), *(number(one.rms) for one in line.values())])
    return table(["", *ARITHMETICS], rows), found


def ternary() -> str:
    """Return what becomes of SZT weights."""
    rows = []
    for m, points in ((2, "standard"), (4, "standard")):
        f = transform(m, 3, points)
        small, powers = shares([-1, 0, 1], f, f)
        reach = int(np.abs(f.integer.g).sum(axis=1).max()) ** 2
        rows.append(
            [name(m, points), f"{100 * small:.1f} %", f"{100 * powers:.1f} %", str(reach), str(additions(f.integer.b))]
        )
    return table(["transform", "-1, 0, 1", "zero or a power of two", "reach", "additions of B, one axis"], rows)


def choices() -> str:
    """Return what is chosen for a layer of 32 x 32 x 64."""
    layer = Window(in_shape=(32, 32, 64), kernel=(3, 3), padding=(1, 1, 1, 1))
    shift, simd = hardware.load("shift_16x16"), hardware.load("simd_8x8")
    asked: list[tuple[str, dict[str, Any]]] = [
        ("int8 x SZT, shift_16x16", {"act_format": "int8", "weight_format": "szt", "machine": shift}),
        ("int8 x pot3z, shift_16x16", {"act_format": "int8", "weight_format": "pot3z",
                                       "machine": shift.replace(weight_format="pot3z")}),
        ("int8 x SZT, any widths", {"act_format": "int8", "weight_format": "szt"}),
        ("int8 x int4, any widths", {"act_format": "int8", "weight_format": "int4"}),
        ("int8 x int8, any widths", {"act_format": "int8", "weight_format": "int8"}),
        ("float32, error 1e-5", {"act_format": "float32", "weight_format": "float32", "tolerance": 1e-5}),
        ("float16, error 1e-2", {"act_format": "float16", "weight_format": "float16", "tolerance": 1e-2}),
        ("posit8_0, simd_8x8, error 0.03", {"act_format": "posit8_0", "weight_format": "posit8_0", "machine": simd,
                                            "tolerance": 0.03}),
        ("fp4_e2m1, simd_8x8, error 0.2", {"act_format": "fp4_e2m1", "weight_format": "fp4_e2m1", "machine": simd,
                                           "tolerance": 0.2}),
    ]  # fmt: skip
    rows = []
    for title, arguments in asked:
        found = choose(layer, 64, **arguments)
        best = next((c for c in found.candidates if c.taken), None)
        shown = best or found.candidates[0]
        unit = "one-bit cells" if found.direct.cycles is None else "cycles"
        cost = "" if shown.cost is None else f"{shown.cost.decisive:,}"
        rows.append(
            [
                title,
                "direct" if best is None else name(best.m, best.points),
                f"{found.direct.decisive:,} {unit}",
                f"{name(shown.m, shown.points)}: {cost}",
                "exact" if shown.exact else number(shown.error or 0.0),
            ]
        )
    return table(["asked", "chosen", "direct", "best or first candidate", "its error"], rows)


def main() -> None:
    """Make all tables."""
    made = {"transforms": transforms(), "integers": integers(), "ternary": ternary(), "choices": choices()}
    results: dict[str, Any] = {}
    for place, (title, x, w) in enumerate(layers()):
        text, found = errors(x, w)
        made[f"errors{place}"] = text
        results[title] = found
    page = PAGE.read_text(encoding="utf-8")
    for mark, text in made.items():
        begin, end = f"<!-- {mark} -->", f"<!-- end {mark} -->"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}\n\n{text}\n\n{end}{after}"
    write_atomic(PAGE, page)
    write_atomic(OUT, json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
