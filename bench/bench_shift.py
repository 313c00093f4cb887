"""The shift array simulated: exact products beside a plain float32 product, and cycles of whole networks.

Run it as ``python bench/bench_shift.py``. The yardstick of the product is ``np.matmul`` in float32 on the same
shapes and threads, which is also the limit: the exact product is one such product between two conversions. The cycle
model has no peer in this process. Writes build/bench/shift.json.
"""

import argparse

import numpy as np
from _common import interleaved, write

from tetrit import hardware, sim
from tetrit.sim.shift import best_mapping, cycles

# (m, k, n) of the 21 matrix products of ResNet-18 at 224 x 224, convolutions lowered; He et al., arXiv 1512.03385
RESNET18 = [
    (12544, 147, 64),
    *[(3136, 576, 64)] * 4,
    (784, 576, 128),
    *[(784, 1152, 128)] * 3,
    (784, 64, 128),
    (196, 1152, 256),
    *[(196, 2304, 256)] * 3,
    (196, 128, 256),
    (49, 2304, 512),
    *[(49, 4608, 512)] * 3,
    (49, 256, 512),
    (1, 512, 1000),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    rng = np.random.default_rng(0)
    rows = []
    print(f"{'product m x k x n':>20} {'exact ms':>9} {'float32 ms':>10} {'ratio':>6} {'GMAC/s':>7}")
    for m, k, n in ((256, 256, 256), (256, 1024, 1024), (1024, 4096, 1024)):
        machine = hardware.ShiftArray(rows=16, cols=16, acc_memory=hardware.Memory(size_bytes=1 << 24))
        codes = rng.integers(0, 4, (k, n)).astype(np.uint8)
        x = rng.integers(-128, 128, (m, k))
        engine = sim.build(machine).load(codes)
        a, b = x.astype(np.float32), machine.weights.integers[codes].astype(np.float32)
        assert np.array_equal(engine.matmul(x).output, x @ machine.weights.integers[codes])
        seconds = interleaved({"ours": lambda e=engine, x=x: e.matmul(x), "blas": lambda a=a, b=b: a @ b}, repeats)
        row = {"m": m, "k": k, "n": n, "ms": 1e3 * seconds["ours"], "float32_ms": 1e3 * seconds["blas"]}
        row |= {"ratio": row["ms"] / row["float32_ms"], "gmac_per_s": m * k * n / seconds["ours"] * 1e-9}
        rows.append(row)
        shape = f"{m} x {k} x {n}"
        print(f"{shape:>20} {row['ms']:9.2f} {row['float32_ms']:10.2f} {row['ratio']:6.2f} {row['gmac_per_s']:7.1f}")

    networks = []
    for dataflow in hardware.DATAFLOWS:
        memory = hardware.Memory(size_bytes=1 << 20)
        machine = hardware.ShiftArray(rows=32, cols=32, acc_bits=32, dataflow=dataflow, acc_memory=memory)
        layers = [sim.Workload(m=m, k=k, n=n) for m, k, n in RESNET18]
        total = sum(cycles.count(layer, best_mapping(layer, machine), machine) for layer in layers)
        seconds = interleaved({"map": lambda ls=layers, mc=machine: [best_mapping(layer, mc) for layer in ls]}, repeats)
        networks.append({"dataflow": dataflow, "cycles": total, "mapping_s": seconds["map"]})
        print(f"ResNet-18 on 32 x 32, {dataflow}: {total:,} cycles, mapped in {seconds['map']:.3f} s")
    write("shift", {"products": rows, "networks": networks})


if __name__ == "__main__":
    main()
