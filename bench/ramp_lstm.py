"""A character LSTM whose gates come out of nonlinear ramp converters: bits per character at 3, 4, 5 and 8 bits.

The network (one layer of 128, context 64) is trained in float on the source of Python's standard library, then
evaluated on the last 5 % of the text with its gates' sigmoid and tanh replaced by codes of `RampConverter`: without
errors, with the programming error of phase-change cells, with 2 % of the ramp's cells stuck off besides, each with and
without the one-point calibration, and read at 0.15 and 0.25 V, where 0.2 V is nominal. All columns share one ramp per
function; products are exact, so that the figures are those of the converter alone. "Fine-tuned" continues the training
with the perfect ramp in the forward pass and the float function's gradient.
"""

import argparse
import copy
import statistics
import time
from itertools import product

import numpy as np
import torch
from _common import write
from torch import nn
from torch.nn import functional

from tetrit.hardware import Device
from tetrit.hardware.ramp import RampAdc
from tetrit.sim.crossbar.ramp import RampConverter
from tetrit.train.data.sources import Stdlib
from tetrit.train.loop.batches import TextBatches
from tetrit.train.models.lstm import LSTM

BITS = (3, 4, 5, 8)
CONTEXT = 64
RANGES = {"sigmoid": ((-8.0, 8.0), (0.0, 1.0)), "tanh": ((-4.0, 4.0), (-1.0, 1.0))}
FLOAT = {"sigmoid": torch.sigmoid, "tanh": torch.tanh}


class Gates:
    """The two activation functions by ramp converters."""

    def __init__(self, bits, *, seed=0, read_voltage_v=None, zero=False, **fields):
        self.read_voltage_v = read_voltage_v
        self.converters = {}
        for place, (name, (inputs, outputs)) in enumerate(RANGES.items()):
            if zero and name == "tanh":  # the levels of two's complement, of which one is 0
                outputs = (-1.0, 1.0 - 2.0 ** (1 - bits))
            adc = RampAdc(function=name, bits=bits, input_range=inputs, output_range=outputs, **fields)
            self.converters[name] = RampConverter(adc, seed=seed, tile=(0, place))

    def __call__(self, name, x):
        """Return the values of the codes of `x`, with the gradient of the float function."""
        converter = self.converters[name]
        codes = converter.codes(x.detach().numpy(), read_voltage_v=self.read_voltage_v)
        value = torch.from_numpy(converter.values(codes).astype(np.float32))
        if not x.requires_grad:
            return value
        clean = FLOAT[name](x)
        return clean + (value - clean).detach()


class RampCell(nn.Module):
    """A `Cell` whose gates are converted."""

    def __init__(self, cell, gates, *, state_too=False):
        super().__init__()
        self.cell, self.gates, self.state_too = cell, gates, state_too

    def forward(self, x):
        """Return the states, as `Cell` does."""
        width = self.cell.width
        state = memory = x.new_zeros(len(x), width)
        states = []
        for projected in self.cell.from_input(x).unbind(1):
            i, f, g, o = (projected + self.cell.from_state(state)).chunk(4, -1)
            i, f, o = self.gates("sigmoid", torch.stack([i, f, o])).unbind()
            memory = f * memory + i * self.gates("tanh", g)
            state = o * (self.gates("tanh", memory) if self.state_too else memory.tanh())
            states.append(state)
        return torch.stack(states, 1)


def with_gates(model, gates, **options):
    changed = copy.copy(model)
    changed._modules = dict(model._modules)
    changed.cells = nn.Sequential(*(RampCell(cell, gates, **options) for cell in model.cells))
    return changed


def fit(model, batches, steps, rate, phase):
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        x, y = batches.train(phase, step)
        optimizer.zero_grad()
        functional.cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model


@torch.no_grad()
def bits_per_character(model, batches):
    loss = items = 0.0
    for x, y in batches.evaluation("test"):
        loss += functional.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum").item()
        items += y.numel()
    return loss / items / np.log(2.0)


def over_chips(model, batches, chips, bits, **fields):
    """Return mean, standard deviation and worst of chips."""
    found = [bits_per_character(with_gates(model, Gates(bits, seed=seed, **fields)), batches) for seed in range(chips)]
    return [statistics.mean(found), statistics.stdev(found), max(found)]


def column(model, tuned, batches, bits, chips):
    """Return all figures of one number of bits."""
    pcm = Device.load("pcm")

    def once(**fields):
        return bits_per_character(with_gates(model, Gates(bits, **fields)), batches)

    rows = {
        "perfect ramp": once(),
        "perfect ramp, tanh of the cell state too": bits_per_character(
            with_gates(model, Gates(bits), state_too=True), batches
        ),
        "perfect ramp, a level at 0": once(zero=True),
    }
    for share, label in ((0.0, "pcm"), (0.02, "pcm, 2 % stuck off")):
        for calibrated in (False, True):
            name = f"{label}, {'calibrated' if calibrated else 'not calibrated'}"
            n = 2 * chips if share else chips  # few chips have a stuck cell where it matters
            rows[name] = over_chips(model, batches, n, bits, device=pcm, stuck_off=share, calibrated=calibrated)
    rows["pcm, calibrated, up to 4 cells a step"] = over_chips(
        model, batches, chips, bits, device=pcm, cells_per_step=4
    )
    for voltage in (0.15, 0.25):
        for tracks in (True, False):
            name = f"read at {voltage} V, {'ramp tracks' if tracks else 'fixed reference'}"
            rows[name] = once(read_voltage_v=voltage, tracks=tracks)
    rows["fine-tuned, perfect ramp"] = bits_per_character(with_gates(tuned, Gates(bits)), batches)
    rows["fine-tuned, pcm, calibrated"] = over_chips(tuned, batches, chips, bits, device=pcm)
    return rows


def nonlinearity(chips=100):
    """Return the root mean square INL in steps, averaged over chips, of sigmoid ramps of phase-change cells."""
    rows = {}
    for cells, share, calibrated in product((1, 4), (0.0, 0.02), (False, True)):
        found = []
        for bits in BITS:
            gates = [
                Gates(
                    bits, seed=seed, device="pcm", stuck_off=share, calibrated=calibrated, cells_per_step=cells
                ).converters["sigmoid"]
                for seed in range(chips)
            ]
            found.append(statistics.mean(float(np.sqrt((gate.inl_lsb() ** 2).mean())) for gate in gates))
        label = f"{cells} cell{'s' if cells > 1 else ''} a step, {share:.0%} stuck off"
        rows[f"{label}, {'calibrated' if calibrated else 'not calibrated'}"] = found
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500, help="of the float training")
    parser.add_argument("--tuning", type=int, default=150, help="steps with the ramp in the forward pass")
    parser.add_argument("--chips", type=int, default=5, help="at least 2; twice as many with stuck cells")
    parser.add_argument("--budget", type=int, default=1_000_000, help="bytes of text")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(asked.seed)
    began = time.perf_counter()
    data = Stdlib(budget=asked.budget).load()
    batches = TextBatches(data, context=CONTEXT, seed=asked.seed, batch=32, device="cpu")
    testing = TextBatches(data, context=CONTEXT, seed=asked.seed, batch=256, device="cpu")
    model = fit(LSTM(symbols=len(data.alphabet), layers=1, width=128), batches, asked.steps, 4e-3, 0)
    longer = fit(copy.deepcopy(model), batches, asked.tuning, 1e-3, 1)
    table = {"float": bits_per_character(model, testing), "float, fine-tuned": bits_per_character(longer, testing)}
    print(f"{'float':44s} {table['float']:.4f}\n{'float, as many more steps':44s} {table['float, fine-tuned']:.4f}")
    columns = {}
    for bits in BITS:
        tuned = copy.deepcopy(model)
        fit(with_gates(tuned, Gates(bits)), batches, asked.tuning, 1e-3, 1)
        columns[bits] = column(model, tuned, testing, bits, asked.chips)
    print(f"{'bits per character':44s}" + "".join(f"{bits:>11d} bits" for bits in BITS))
    for name in columns[BITS[0]]:
        cells = [columns[bits][name] for bits in BITS]
        shown = [f"{c[0]:.4f} ± {c[1]:.4f}" if isinstance(c, list) else f"{c:.4f}" for c in cells]
        print(f"{name:44s}" + "".join(f"{text:>16s}" for text in shown))
        if isinstance(cells[0], list):
            print(f"{'  worst chip':44s}" + "".join(f"{worst:>16.4f}" for _, _, worst in cells))
    inl = nonlinearity()
    print("root mean square INL of the sigmoid's ramp, in steps, mean of 100 chips")
    for name, row in inl.items():
        print(f"{name:44s}" + "".join(f"{value:>16.3f}" for value in row))
    seconds = time.perf_counter() - began
    print(f"{asked.chips} chips, {seconds:.0f} s")
    write(
        "ramp_lstm",
        {
            "settings": vars(asked),
            "text": data.summary(),
            **table,
            "bits": columns,
            "inl_rms_lsb": inl,
            "seconds": seconds,
        },
    )


if __name__ == "__main__":
    main()
