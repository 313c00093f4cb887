"""The phase-change preset beside aihwkit's PCMLikeNoiseModel: mean and sigma over conductances and times, in one run.

Four quantities: conductances as programmed, drift exponents, conductances after drift, and those with the read noise of
one read of 250 ns. aihwkit clips a noisy conductance at 0 and ours is clipped here likewise, since what is compared is
the cell; in the simulator the noise of a column is one Gaussian, which clips no cell. The last lines say what
that changes.

aihwkit is optional and not among tetrit's requirements. 1.1.0 has wheels; its noise models run with the torch that
tetrit is tested with, and need none of aihwkit's other requirements:

    pip install --only-binary :all: --no-deps aihwkit==1.1.0

Exit code 1 if a figure differs by more than `BOUND`, 2 without aihwkit.
"""

import sys

import numpy as np
from _common import write

from tetrit import noise
from tetrit.hardware import Device
from tetrit.sim.crossbar.cells import Cells

try:
    import aihwkit
    import torch
    from aihwkit.inference.noise.pcm import PCMLikeNoiseModel
except ImportError as error:
    print(f"{error}; pip install --only-binary :all: --no-deps aihwkit==1.1.0", file=sys.stderr)
    sys.exit(2)

BOUND = 0.02
SHAPE = (1000, 500)  # cells at each conductance, and as many of aihwkit's
GRID_US = (0.0, 0.25, 1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 25.0)
TIMES_S = {"0": 0.0, "1 s": 1.0, "1 h": 3600.0, "1 d": 86400.0, "30 d": 30 * 86400.0, "1 y": 365 * 86400.0}
READ_S = 250e-9
LATER = 1e6  # at which the drift exponents of our cells are read off


def samples(g_us, seed):
    """Yield quantity, time, ours, theirs, ours without clipping."""
    pcm = Device.load("pcm")
    peer, quiet = PCMLikeNoiseModel(), PCMLikeNoiseModel(read_noise_scale=0.0)
    targets = np.full(SHAPE, g_us * 1e-6)
    cells = Cells.written(targets, pcm, (0.0, pcm.g_max_siemens), key=noise.key(seed))
    wanted = torch.full(SHAPE, g_us)
    written = peer.apply_programming_noise_to_conductance(wanted)
    nu = peer.generate_drift_coefficients(wanted)
    yield "programmed", "0", cells.programmed * 1e6, written, None
    kept = cells.programmed > 0
    decay = cells.conductance(LATER)[kept] / cells.programmed[kept]
    yield "exponent", "", -np.log(decay) / np.log1p(LATER / pcm.drift_start_s), nu, None
    z = noise.normals(noise.key(seed, 1), targets.size).reshape(SHAPE)
    for name, time in TIMES_S.items():
        g = cells.conductance(time)
        if time > 0:
            theirs = quiet.apply_drift_noise_to_conductance(written, nu, time)
            yield "drifted", name, g * 1e6, theirs, None
        sigma = np.sqrt(cells.read_noise(g, time, READ_S, 300.0).flicker)
        read = (g + sigma * z) * 1e6
        theirs = peer.apply_drift_noise_to_conductance(written, nu, time)
        yield "read", name, np.maximum(read, 0.0), theirs, read


def main():
    torch.manual_seed(0)
    print(f"aihwkit {aihwkit.__version__}, {SHAPE[0] * SHAPE[1]:,} cells of each at every conductance; uS")
    print(f"{'':10} {'time':>5} {'target':>6} {'mean':>9} {'aihwkit':>9} {'sigma':>9} {'aihwkit':>9} {'differ by':>15}")
    rows, worst, unclipped = [], 0.0, {"from 1 uS": 0.0, "below 1 uS": 0.0}
    for place, g_us in enumerate(GRID_US):
        for quantity, time, ours, theirs, plain in samples(g_us, 100 + place):
            theirs = theirs.double().numpy()
            figures = ours.mean(), theirs.mean(), ours.std(), theirs.std()
            mean, sigma = (abs(figures[at] / figures[at + 1] - 1) for at in (0, 2))
            worst = max(worst, mean, sigma)
            if plain is not None:
                where = "from 1 uS" if g_us >= 1 else "below 1 uS"
                apart = abs(plain.mean() / figures[1] - 1), abs(plain.std() / figures[3] - 1)
                unclipped[where] = max(unclipped[where], *apart)
            print(
                f"{quantity:10} {time:>5} {g_us:6.2f} {figures[0]:9.4f} {figures[1]:9.4f} {figures[2]:9.4f} "
                f"{figures[3]:9.4f} {mean:7.2%} {sigma:7.2%}"
            )
            names = ("mean", "mean_aihwkit", "sigma", "sigma_aihwkit")
            rows.append(
                {"quantity": quantity, "time": time, "target_us": g_us}
                | dict(zip(names, map(float, figures), strict=True))
            )
    print(f"largest difference {worst:.2%}, bound {BOUND:.0%}")
    for where, apart in unclipped.items():
        print(f"not clipped at 0, read conductances {where} differ by {apart:.2%} at most")
    write(
        "devices",
        {
            "aihwkit": aihwkit.__version__,
            "cells": SHAPE[0] * SHAPE[1],
            "largest": worst,
            "unclipped": unclipped,
            "rows": rows,
        },
    )
    sys.exit(1 if worst > BOUND else 0)


if __name__ == "__main__":
    main()
