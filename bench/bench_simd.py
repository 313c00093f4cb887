"""The SIMD engine simulated: exact quire products beside plain BLAS products, and cycles of a whole network.

Run it as ``python bench/bench_simd.py``. Yardsticks, in the same process and threads: ``np.matmul`` in float32 and
float64 on the same shapes, and softposit's quire of 16-bit posits, called from Python by its thinnest wrapper on a
short dot product. Encoding of the results is part of every one of our times. Two kinds of operands: codes drawn evenly,
which span the whole range and are the worst there is for splitting, and normal numbers, such as layers have. Writes
build/bench/simd.json.
"""

import argparse
import os
import time
import warnings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")
os.environ.setdefault("NUMBA_NUM_THREADS", "2")

import numpy as np
from _common import interleaved, write

from tetrit import formats
from tetrit.hardware.simd_engine import SIMD_FORMATS, SimdEngine
from tetrit.sim import Workload
from tetrit.sim.simd import cycles, quire_matmul

SIZE = 512
TARGETS = {"fp4_e2m1": ("float32", 0.5), "posit4_1": ("float32", 0.5), "posit8_0": ("float64", 0.5)}


def resnet50() -> list[tuple[int, int, int]]:
    """(m, k, n) of the 54 products of ResNet-50 at 224 x 224, convolutions lowered; He et al., arXiv 1512.03385."""
    layers, channels = [(112 * 112, 7 * 7 * 3, 64)], 64
    for width, blocks, side in ((64, 3, 56), (128, 4, 28), (256, 6, 14), (512, 3, 7)):
        for block in range(blocks):
            # as in torchvision, the 3 x 3 convolution of a stage's first block has the stride
            before = 4 * side * side if block == 0 and width > 64 else side * side
            layers += [(before, channels, width), (side * side, 9 * width, width), (side * side, width, 4 * width)]
            if block == 0:
                layers.append((side * side, channels, 4 * width))
            channels = 4 * width
    return [*layers, (1, 2048, 1000)]


def operands(name, kind, rng):
    """Codes without NaR."""
    fmt = formats.get(name)
    if kind == "normal":
        scale = 1.0 if fmt.bits > 4 else 2.0
        return [fmt.encode(scale * rng.standard_normal((SIZE, SIZE))) for _ in range(2)]
    codes = rng.integers(0, 2**fmt.bits, (2, SIZE, SIZE)).astype(fmt.code_dtype)
    codes[:, np.isnan(fmt.values)[codes[0]] | np.isnan(fmt.values)[codes[1]]] = 0
    return list(codes)


def softposit_rate(rng) -> float:
    """Multiply-accumulates a second of softposit's quire."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import softposit
    codes = rng.integers(1, 2**15, (2, 4096)).tolist()
    left, right = ([softposit.posit16(bits=code).v for code in row] for row in codes)
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        total = softposit.q16Clr()
        for one, other in zip(left, right, strict=True):
            total = softposit.q16_fdp_add(total, one, other)
        softposit.q16_to_p16(total)
        best = min(best, time.perf_counter() - start)
    return len(left) / best


def verdict(held: bool) -> str:
    return "held" if held else "NOT held"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    rng = np.random.default_rng(0)
    a = rng.standard_normal((SIZE, SIZE))
    single = a.astype(np.float32)
    tasks = {"float32": lambda: single @ single, "float64": lambda: a @ a}
    for name in SIMD_FORMATS:
        for kind in ("even", "normal"):
            one, other = operands(name, kind, rng)
            tasks[f"{name} {kind}"] = lambda x=one, y=other, f=name: quire_matmul(x, y, f, f, f)
    seconds = interleaved(tasks, repeats)
    peer = softposit_rate(rng)

    macs = SIZE**3
    rows = []
    print(f"{SIZE} x {SIZE} x {SIZE}, medians of {repeats}; load {os.getloadavg()[0]:.1f}")
    for name in ("float32", "float64"):
        print(f"{name:>18} {1e3 * seconds[name]:8.2f} ms {macs / seconds[name] * 1e-9:7.1f} GMAC/s")
    for name in SIMD_FORMATS:
        for kind in ("even", "normal"):
            spent = seconds[f"{name} {kind}"]
            row = {"format": name, "operands": kind, "ms": 1e3 * spent, "gmac_per_s": macs / spent * 1e-9}
            row |= {f"of_{peer_name}": seconds[peer_name] / spent for peer_name in ("float32", "float64")}
            text = f"{name + ' ' + kind:>18} {row['ms']:8.2f} ms {row['gmac_per_s']:7.1f} GMAC/s"
            if name in TARGETS:
                blas, least = TARGETS[name]
                row["held"] = row[f"of_{blas}"] >= least
                text += f"  {row[f'of_{blas}']:.2f} of {blas} (at least {least}: {verdict(row['held'])})"
            else:
                row["of_softposit"] = macs / spent / peer
                row["held"] = row["gmac_per_s"] >= 1.0 and row["of_softposit"] >= 1000
                text += (
                    f"  {row['of_softposit']:,.0f} x softposit (at least 1 GMAC/s and 1000 x: {verdict(row['held'])})"
                )
            rows.append(row)
            print(text)
    print(f"softposit's q16 from Python: {peer * 1e-6:.2f} MMAC/s")

    layers = [Workload(m=m, k=k, n=n) for m, k, n in resnet50()]
    machine = SimdEngine(rows=32, cols=32)
    model = interleaved({"model": lambda: cycles.count_all(layers, machine, "posit8_0", "posit8_0")}, repeats)["model"]
    total = int(cycles.count_all(layers, machine, "posit8_0", "posit8_0").sum())
    network = {"layers": len(layers), "macs": sum(layer.macs for layer in layers), "cycles": total, "ms": 1e3 * model}
    network["held"] = network["ms"] < 50.0
    print(
        f"ResNet-50 on 32 x 32, Posit(8,0): {total:,} cycles of {network['macs']:,} MACs, modelled in "
        f"{network['ms']:.2f} ms (below 50: {verdict(network['held'])})"
    )
    write("simd", {"products": rows, "softposit_mac_per_s": peer, "network": network})


if __name__ == "__main__":
    main()
