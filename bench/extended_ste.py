"""The published claims for the extended straight-through estimator, on real data: accuracy, perplexity, time, memory.

Feng et al. (arXiv 2508.11940) report up to +5.3 points of image accuracy, -0.72 of perplexity, 2.2 times the training
speed and 37.9 % less peak memory against standard noise-aware training; their noise, networks and data are not known to
us.
Here: a float network, then four fine-tunings from it, each as long as its training, with the same data and seed, each
measured on chips that it has not seen:

- ``quantised``: plain quantisation-aware training;
- ``extended``: forward the full simulation, backward the clean network;
- ``graph``: the same simulation, noise kept in the graph and differentiated, array by array;
- ``injection``: one product, Gaussian noise of weights and currents in the graph (after Joshi et al. 2020).

Fashion-MNIST with a small convolutional network, and a character GPT on Python's standard library. The machine is
`crossbar` below. Time and peak memory of a training step are those of a process of its own for each way: the rise is
that of the process's peak over what a step with 8 images had taken before, so without Python and PyTorch themselves.

``python bench/extended_ste.py --seeds 1 --scale 1``; larger values train longer, or more than once.
"""

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time

import numpy as np
import torch
from _common import machine, write
from torch import nn

from tetrit.hardware import Adc, Crossbar, Device
from tetrit.train import calibrate, new_chip, noise_aware, set_noise
from tetrit.train.data.sources import Fashion, Stdlib
from tetrit.train.models.gpt import GPT
from tetrit.train.models.lenet import LeNet

WAYS = ("quantised", "extended", "graph", "injection")
THREADS = 1
CHIPS = 4
PROCESSES = 3
SIZES = (256, 1024)
CONTEXT = 32


def crossbar():
    """Phase-change cells used up to 6 uS, where errors are a larger share of the window than at 25 uS; an hour old."""
    return Crossbar(
        rows=128,
        cols=128,
        device=Device.load("pcm"),
        g_max_siemens=6e-6,
        weight_format="int8",
        act_format="int8",
        bits_per_cell=8,
        dac_bits=8,
        adc_bits=8,
        adc=Adc(range="calibrated"),
        time_s=3600.0,
        drift_compensation="global",
    )


def images(scale):
    data = Fashion().load()
    n = int(12_000 * min(scale, 4))

    def tensors(part, n):
        x = torch.tensor(part.x[:n], dtype=torch.float32) * data.scale
        return x, torch.tensor(part.y[:n])

    return tensors(data.train, n), tensors(data.test, 1000)


def text():
    data = Stdlib(budget=300_000).load()
    train, test = (torch.tensor(np.asarray(part), dtype=torch.long) for part in (data.train, data.test))
    return data, train, test


def cnn():
    return LeNet(shape=(1, 28, 28), channels=(8, 16), kernel=5, hidden=(64,), classes=10)


def gpt(symbols):
    return GPT(symbols=symbols, context=CONTEXT, layers=2, heads=2, width=64, dropout=0.0)


def tuned(model, way, seed):
    """Put a network on the crossbar for a way of training."""
    kind = way if way in ("graph", "injection") else "extended"
    model = noise_aware(model, crossbar(), noise=kind, seed=seed)
    if way == "quantised":
        set_noise(model, "quantised")
    return model


def train(model, batches, rate):
    """Train with Adam, the rate falling to 0 as a cosine does; return the median seconds of a step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    model.train()
    seconds = []
    for i, (x, y) in enumerate(batches):
        start = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * i / len(batches)))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x).flatten(0, -2), y.flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def image_batches(data, steps, size, seed):
    x, y = data
    g = torch.Generator().manual_seed(seed)
    return [(x[i], y[i]) for i in (torch.randint(len(x), (size,), generator=g) for _ in range(steps))]


def text_batches(data, steps, size, seed):
    g = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(steps):
        rows = torch.randint(len(data) - CONTEXT - 1, (size,), generator=g)[:, None] + torch.arange(CONTEXT + 1)
        found.append((data[rows[:, :-1]], data[rows[:, 1:]]))
    return found


@torch.no_grad()
def losses(model, x, y):
    scores = model(x)
    wrong = (scores.argmax(-1) != y).float().mean().item()
    return 100 * (1 - wrong), nn.functional.cross_entropy(scores.flatten(0, -2), y.flatten()).item()


def measured(model, held, given):
    """Return (accuracy, loss) in float, quantised, and the means over chips."""
    model.eval()
    found = {}
    for mode in ("float", "quantised"):
        set_noise(model, mode)
        found[mode] = losses(model, *held)
    set_noise(model, "noisy")
    rows = []
    for chip in range(1, CHIPS + 1):
        new_chip(model, chip)
        calibrate(model, given)
        rows.append(losses(model, *held))
    found["chips"] = tuple(statistics.mean(column) for column in zip(*rows, strict=True))
    found["spread"] = statistics.stdev(row[0] for row in rows)
    set_noise(model, None)
    return found


def study(name, make, batches, held, given, rates, steps, seeds):
    """Train from one float network in every way, and print the table."""
    table = {way: [] for way in WAYS}
    for seed in range(seeds):
        torch.manual_seed(seed)
        start = make()
        train(start, batches(steps[0], seed), rates[0])
        state = {key: value.clone() for key, value in start.state_dict().items()}
        for way in WAYS:
            model = make()
            model.load_state_dict(state)
            model = tuned(model, way, seed)
            torch.manual_seed(seed)
            seconds = train(model, batches(steps[1], 1000 + seed), rates[1])
            table[way].append({**measured(model, held, given), "step_s": seconds})
            print(f"  {name} seed {seed} {way}: {table[way][-1]}", flush=True)
    return table


def mean(rows, key, which):
    return statistics.mean(row[key][which] for row in rows)


def cnn_claims(table):
    ideal = mean(table["quantised"], "quantised", 0)
    chips = {way: mean(rows, "chips", 0) for way, rows in table.items()}
    print(f"\nFashion-MNIST, CNN: quantised training has {ideal:.1f} % without noise; on chips:")
    for way, value in chips.items():
        print(f"  {way:10} {value:6.2f} %   gain of extended {chips['extended'] - value:+.2f} points")
    return {"noiseless": ideal, **chips, "gains": gains(table, lambda row: row["chips"][0])}


def gains(table, value):
    """Return what extended gains over the other ways, seed by seed."""
    return {
        way: [value(ours) - value(other) for ours, other in zip(table["extended"], rows, strict=True)]
        for way, rows in table.items()
    }


def gpt_claims(table):
    ideal = math.exp(mean(table["quantised"], "quantised", 1))
    chips = {way: math.exp(mean(rows, "chips", 1)) for way, rows in table.items()}
    print(f"\nStandard library, character GPT: perplexity of quantised training {ideal:.2f} without noise; on chips:")
    for way, value in chips.items():
        gain = value - chips["extended"]
        print(f"  {way:10} {value:6.2f}     gain of extended {gain:+.2f} ({100 * gain / value:+.1f} %)")
    return {"noiseless": ideal, **chips, "gains": gains(table, lambda row: -math.exp(row["chips"][1]))}


def one_process(way, size):
    """Print the seconds of a step of the CNN, and how far memory rose, in MB."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    model = cnn() if way == "float" else tuned(cnn(), way, 0)
    x, y = torch.rand(size, 1, 28, 28), torch.randint(10, (size,))
    train(model, [(x[:8], y[:8])] * 20, 1e-3)  # the ranges of converters are learned in all of the first 16
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = train(model, [(x, y)] * 12, 1e-3)  # and in the last of these
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"step_s": seconds, "rise_mb": after - before, "peak_mb": after}))


def costs(size):
    found = {}
    for way in ("float", *WAYS):
        command = [sys.executable, __file__, "--one", way, "--size", str(size)]
        runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(PROCESSES)]
        rows = [json.loads(run.stdout.splitlines()[-1]) for run in runs]
        found[way] = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    print(f"\nOne step of the CNN, batch {size}: medians of {PROCESSES} processes of their own")
    own = found["extended"]
    for way, row in found.items():
        print(
            f"  {way:10} {1e3 * row['step_s']:8.1f} ms   rise of memory {row['rise_mb']:7.1f} MB   "
            f"extended is {row['step_s'] / own['step_s']:.2f} times as fast, takes "
            f"{100 * own['rise_mb'] / max(row['rise_mb'], 1e-9):.0f} % of the rise, "
            f"{100 * own['peak_mb'] / row['peak_mb']:.0f} % of the peak"
        )
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--only", choices=("cnn", "gpt", "costs"))
    parser.add_argument("--one")
    parser.add_argument("--size", type=int, default=256)
    args = parser.parse_args()
    if args.one:
        one_process(args.one, args.size)
        return
    torch.set_num_threads(THREADS)
    print(f"torch {torch.__version__}, {THREADS} thread; {machine()}")
    found = {"torch": torch.__version__, "threads": THREADS, "seeds": args.seeds, "scale": args.scale}
    if args.only in (None, "costs"):
        found["costs"] = {size: costs(size) for size in SIZES}
    if args.only in (None, "cnn"):
        pixels, held = images(args.scale)
        steps = int(400 * args.scale), int(400 * args.scale)
        table = study(
            "cnn",
            cnn,
            lambda steps, seed: image_batches(pixels, steps, 64, seed),
            held,
            pixels[0][:128],
            (2e-3, 1e-3),
            steps,
            args.seeds,
        )
        found["cnn"] = {"claims": cnn_claims(table), "runs": table}
    if args.only in (None, "gpt"):
        data, letters, test = text()
        symbols = int(max(letters.max(), test.max())) + 1
        rows = text_batches(test, 1, 256, 7)[0]
        steps = int(600 * args.scale), int(600 * args.scale)
        table = study(
            "gpt",
            lambda: gpt(symbols),
            lambda steps, seed: text_batches(letters, steps, 32, seed),
            rows,
            text_batches(letters, 1, 16, 8)[0][0],
            (3e-3, 1e-3),
            steps,
            args.seeds,
        )
        found["gpt"] = {"claims": gpt_claims(table), "runs": table, "data": data.details}
    write("extended_ste" if args.only is None else f"extended_ste_{args.only}", found)


if __name__ == "__main__":
    main()
