"""Position from camera and IMU in mixed formats: a regression, in metres, on a simulated walk through a room.

A small network is trained in float on simulated walks (`room.py`); then a format is chosen for every layer within a
bound on the steps of a SIMD engine, and the network is rounded and trained on in it, as in one format everywhere.
Errors are those of walks that no network has seen, from the engine's codes: exact sums, one rounding. Needs PyTorch:

    python examples/vio/vio.py
    python examples/vio/vio.py --rtl 32     # and runs 32 frames on the Verilated array
"""
# ruff: noqa: T201

import argparse
import copy
import dataclasses
import json
import math
import tempfile
from pathlib import Path

import numpy as np
import torch
from room import N_FEATURES, record
from torch import nn

from tetrit import hardware, hls, verify
from tetrit.estimators import FormatSTE
from tetrit.sim.execute import execute
from tetrit.train import choose_formats, export, format_plan, prepare
from tetrit.train.precision import FormatPair

FORMATS = ("fp4_e2m1", "posit4_1", "posit8_0", "posit16_1")
BATCH = 256


def load(seed, numbers):
    """Return features and positions, relative to the middle of the room, of some walks."""
    walks = [record(seed, number) for number in numbers]
    middle = np.array([3.0, 2.5, 1.45])
    x = torch.tensor(np.concatenate([walk.features for walk in walks]))
    return x, torch.tensor(np.concatenate([walk.position_m - middle for walk in walks]), dtype=torch.float32)


def network():
    """Return the network: 150 features to 3 coordinates in metres."""
    return nn.Sequential(
        nn.Linear(N_FEATURES, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(),
        nn.Linear(64, 3),
    )  # fmt: skip


def train(model, data, epochs, rate, seed):
    """Train with Adam on the squared error, the rate falling to 0 as a cosine does."""
    x, y = data
    g = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    steps, done = epochs * (len(x) // BATCH), 0
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=g)
        for picked in order[: len(x) // BATCH * BATCH].split(BATCH):
            for group in optimizer.param_groups:
                group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * done / steps))
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x[picked]), y[picked]).backward()
            optimizer.step()
            done += 1
    return model.eval()


def errors(found, wanted):
    """Return root mean square, median and 95th percentile of the distances, in metres."""
    distance = np.linalg.norm(np.asarray(found, dtype=np.float64) - wanted.double().numpy(), axis=1)
    return float(np.sqrt((distance**2).mean())), float(np.median(distance)), float(np.quantile(distance, 0.95))


def metres(values):
    """Return figures of `errors` as text."""
    return " ".join(f"{value:.3f}" for value in values)


def compiled(model, example, machine):
    """Return the engine's program of a prepared network; positions come out as posit16_1."""
    with tempfile.TemporaryDirectory() as folder:
        layers = export(model, Path(folder) / "net.safetensors", example=example).linear_network()
    with torch.no_grad():
        scale = FormatSTE(format="posit16_1").start(model(example).double().numpy())[0].scale
    layers[-1] = dataclasses.replace(layers[-1], out_format="posit16_1", out_scale=scale)
    return hls.compile_network(layers, machine, batch=len(example))


def on_engine(program, x):
    """Return the positions that the engine gives, and its cycles per frame."""
    runs = execute(program, program.encode(x.double().numpy()))
    return program.decode(runs[-1].output), sum(run.run.cycles for run in runs) / len(x)


def main():
    """Train, choose, round, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--walks", type=int, default=60, help="of 40 s each, for training")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--trained-epochs", type=int, default=10)
    parser.add_argument("--bits", type=float, default=6.0, help="bound on the mean bits of a multiply-accumulate")
    parser.add_argument("--machine", default="simd_8x8", help="preset or TOML file")
    parser.add_argument("--rtl", type=int, default=0, metavar="N", help="frames on the Verilated array, of 2 x 2")
    parser.add_argument("--out", type=Path, help="file for the figures, in JSON")
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    torch.set_num_threads(1)
    train_data = load(given.seed, range(given.walks))
    x, y = load(given.seed, range(1000, 1008))
    machine = hardware.load_simd_engine(given.machine)
    model = train(network(), train_data, given.epochs, 2e-3, given.seed)
    with torch.no_grad():
        rows = [{"formats": "float32", "bits": 32.0, "trained_m": errors(model(x), y)}]
    print(f"{len(train_data[0]):,} frames to train, {len(x):,} to test; errors in metres: RMS, median, 95 %")
    print(f"{'float32':24} {'':6} {'':24} {metres(rows[0]['trained_m'])}")
    candidates = [FormatPair(act=name, weight=name) for name in FORMATS]
    example = train_data[0][:: max(1, len(train_data[0]) // 1024)]
    choice = choose_formats(model, candidates, example, mean_bits=given.bits, loss=nn.functional.mse_loss)
    names = list(choice.pairs)
    variants = {f"{pair} everywhere": dict.fromkeys(names, pair) for pair in candidates}
    variants[f"mixed, <= {given.bits:g} bits"] = choice.pairs
    print("mixed:", ", ".join(f"layer {name}: {pair}" for name, pair in choice.pairs.items()), flush=True)
    print(f"{'formats':24} {'bits':>6} {'rounded':>24} {'trained on':>24} {'cycles':>8}")
    for label, pairs in variants.items():
        tuned = prepare(copy.deepcopy(model), format_plan(model, pairs, example))
        rounded, _ = on_engine(compiled(tuned, example, machine), x)
        train(tuned, train_data, given.trained_epochs, 5e-4, given.seed + 1)
        program = compiled(tuned, example, machine)
        found, cycles = on_engine(program, x)
        macs = choice.macs
        bits = sum(macs[name] * pairs[name].bits for name in names) / sum(macs.values())
        row = {
            "formats": label,
            "layers": [str(pair) for pair in pairs.values()],
            "bits": bits,
            "rounded_m": errors(rounded, y),
            "trained_m": errors(found, y),
            "cycles_per_frame": cycles,
        }
        rows.append(row)
        texts = [metres(row[key]) for key in ("rounded_m", "trained_m")]
        print(f"{label:24} {bits:6.2f} {texts[0]:>24} {texts[1]:>24} {cycles:8,.0f}", flush=True)
    if given.rtl:
        small = hardware.changed(machine, {"rows": 2, "cols": 2})
        program = compiled(tuned, example, small)
        for result in verify.run_simd_program(program, program.encode(x[: given.rtl].double().numpy())):
            text = f"{result.vectors:,} vectors, {result.mismatches} wrong, {result.cycles_rtl:,} cycles"
            print(f"RTL, {result.name}: {text}")
    if given.out is not None:
        given.out.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
