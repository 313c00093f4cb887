"""A format for each layer: a small CNN on Fashion-MNIST in FP4, posits and a mixture, rounded and trained on.

Float network first; then, from it, the same network in one format everywhere, and in the formats that
`tetrit.train.choose_formats` gives each layer within a bound on the engine's steps. ``rounded`` is the float network as
it is, ``trained`` after some epochs with rounding in the forward pass; both on all 10,000 test images. ``engine`` are
the first test images once more after training, layer by layer in codes on the simulated engine: exact sums, one
rounding; convolutions as matrix products of patches. FP4 has a power of two for each output, posits have one a layer.
Two rows show what the scales of FP4 are worth: one for a whole tensor, and ones per output that are no powers of two,
which the engine does not have.

Needs Debian's dataset-fashion-mnist, or its files in `--data`: ``python bench/simd_formats.py``.
"""

import argparse
import copy
import math

import numpy as np
import torch
from _common import write
from torch import nn

from tetrit import formats, hardware, hls, sim
from tetrit.sim.execute import execute
from tetrit.train import choose_formats, format_plan, low_bit_layers, prepare
from tetrit.train.data.sources import FASHION, Fashion
from tetrit.train.models.lenet import LeNet
from tetrit.train.precision import FormatPair
from tetrit.train.qat.plan import Plan, Rule

FORMATS = ("fp4_e2m1", "posit4_1", "posit8_0", "posit16_1")
ENGINE = "simd_8x8"
BATCH = 128


def train(model, data, epochs, rate, seed):
    """Train with Adam, the rate falling to 0 as a cosine does."""
    x, y = data
    g = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    steps = epochs * (len(x) // BATCH)
    done = 0
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=g)
        for i in range(len(x) // BATCH):
            picked = order[i * BATCH : (i + 1) * BATCH]
            for group in optimizer.param_groups:
                group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * done / steps))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[picked]), y[picked]).backward()
            optimizer.step()
            done += 1
    return model.eval()


@torch.no_grad()
def accuracy(model, data):
    x, y = data
    model.eval()
    return float(torch.cat([model(part).argmax(1) for part in x.split(500)]).eq(y).double().mean())


def compiled(layer, in_format, in_scale, out_format, out_scale, relu, machine_):
    """Compile one layer of the trained network, its weights as a matrix."""
    q = layer.weight_quantizer.codes(layer.weight)
    return hls.compile_network(
        [
            sim.QuantizedLinear(
                name="layer",
                weight=np.ascontiguousarray(q.codes.reshape(len(q.codes), -1).T),
                weight_format=q.format,
                weight_scale=np.broadcast_to(q.scale.reshape(-1), len(q.codes)).astype(np.float64),
                bias=layer.bias.detach().double().numpy(),
                in_format=in_format,
                in_scale=in_scale,
                out_format=out_format,
                out_scale=out_scale,
                relu=relu,
            )
        ],
        machine_,
        batch=1,
    )


def on_engine(model, x):
    """Return the classes that the engine gives, and its cycles per image."""
    engine = hardware.load(ENGINE)
    layers = list(low_bit_layers(model).values())
    rules = [layer.input_quantizer.estimator for layer in layers]
    codes = formats.get(rules[0].format).encode(x.double().numpy() / rules[0].scale)
    cycles = 0
    for place, (layer, rule) in enumerate(zip(layers, rules, strict=True)):
        last = place == len(layers) - 1
        out = ("posit16_1", 1.0) if last else (rules[place + 1].format, rules[place + 1].scale)
        program = compiled(layer, rule.format, rule.scale, *out, not last, engine)
        n, size = len(codes), None
        if isinstance(layer, nn.Conv2d):
            pad, size = layer.padding[0], codes.shape[2:]
            padded = np.pad(codes, ((0, 0), (0, 0), (pad, pad), (pad, pad)))  # code 0 is 0
            patches = np.lib.stride_tricks.sliding_window_view(padded, layer.kernel_size, axis=(2, 3))
            rows = patches.transpose(0, 2, 3, 1, 4, 5).reshape(n * size[0] * size[1], -1)
        else:
            rows = codes.reshape(n, -1)
        [run] = execute(program, rows)
        cycles += run.run.cycles
        codes = run.output
        if size is not None:  # of the maximum of four codes, the value says which it is
            fmt = formats.get(out[0])
            values = fmt.decode(codes).reshape(n, size[0] // 2, 2, size[1] // 2, 2, -1)
            codes = fmt.encode(values.max(axis=(2, 4)).transpose(0, 3, 1, 2))
    return formats.get("posit16_1").decode(codes).argmax(axis=1), cycles / len(x)


def with_weights(plan, **fields):
    """Return a plan whose weight estimators have some fields changed."""
    rules = [Rule(match=r.match, weight={**r.weight, **fields}, activation=r.activation) for r in plan.rules]
    return Plan(rules=tuple(rules))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=FASHION)
    parser.add_argument("--limit", type=int, default=None, help="training images")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--trained-epochs", type=int, default=2)
    parser.add_argument("--images", type=int, default=1000, help="test images on the engine")
    parser.add_argument("--bits", type=float, nargs="+", default=[5.0, 6.0], help="bounds of the choice")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    loaded = Fashion(path=given.data, limit=given.limit).load()
    train_data, test_data = (
        (torch.tensor(part.x, dtype=torch.float32) * loaded.scale, torch.tensor(part.y))
        for part in (loaded.train, loaded.test)
    )
    model = LeNet(shape=(1, 28, 28), channels=(8, 16), kernel=5, hidden=(64,), classes=10)
    train(model, train_data, given.epochs, 2e-3, given.seed)
    floating = accuracy(model, test_data)
    print(f"float: {100 * floating:.2f} %", flush=True)
    example = train_data[0][:512]
    candidates = [FormatPair(act=name, weight=name) for name in FORMATS]
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    rows = {f"{pair} everywhere": (dict.fromkeys(names, pair), {}) for pair in candidates}
    rows["fp4_e2m1, one scale a tensor"] = (dict.fromkeys(names, candidates[0]), {"axis": None})
    rows["fp4_e2m1, any scale per output"] = (dict.fromkeys(names, candidates[0]), {"power_of_two": False})
    losses = None
    for bits in given.bits:
        choice = choose_formats(model, candidates, example, mean_bits=bits)
        rows[f"chosen, at most {bits:g} bits"] = (choice.pairs, {})
        losses, macs = choice.losses, choice.macs
        print(f"at most {bits:g} bits:", {name: str(pair) for name, pair in choice.pairs.items()}, flush=True)
    for name, row in zip(names, losses, strict=True):
        each = " ".join(f"{fmt}: {1000 * loss:.3g}" for fmt, loss in zip(FORMATS, row, strict=True))
        print(f"{name:12} {macs[name]:8,} MAC {each} mnat")
    figures = []
    heads = ("bits", "bytes", "rounded", "trained", "engine", "agree", "cycles")
    print("formats".ljust(32), *(head.rjust(w) for head, w in zip(heads, (6, 8, 8, 8, 8, 6, 9), strict=True)))
    for label, (pairs, fields) in rows.items():
        plan = with_weights(format_plan(model, pairs, example), **fields)
        network = prepare(copy.deepcopy(model), plan)
        rounded = accuracy(network, test_data)
        train(network, train_data, given.trained_epochs, 5e-4, given.seed + 1)
        trained = accuracy(network, test_data)
        sizes = {name: layer.weight.numel() for name, layer in low_bit_layers(network).items()}
        mean = sum(macs[name] * pairs[name].bits for name in names) / sum(macs.values())
        stored = sum(sizes[name] * formats.get(pairs[name].weight).bits / 8 for name in names)
        entry = {"formats": label, "bits": mean, "weight_bytes": stored, "rounded": rounded, "trained": trained}
        text = f"{label:32} {mean:6.2f} {stored:8,.0f} {100 * rounded:8.2f} {100 * trained:8.2f}"
        if fields == {}:
            x, y = test_data[0][: given.images], test_data[1][: given.images].numpy()
            classes, cycles = on_engine(network, x)
            with torch.no_grad():
                agree = float((classes == network(x).argmax(1).numpy()).mean())
            right = float((classes == y).mean())
            entry |= {"engine": right, "agree": agree, "cycles_per_image": cycles}
            text += f" {100 * right:8.2f} {100 * agree:6.1f} {cycles:9,.0f}"
        print(text, flush=True)
        figures.append(entry | {"layers": {name: str(pair) for name, pair in pairs.items()}})
    settings = {"epochs": given.epochs, "trained_epochs": given.trained_epochs, "images": len(train_data[0])}
    write("simd_formats", {"float": floating, "rows": figures, "settings": settings, "losses_nat": losses.tolist()})


if __name__ == "__main__":
    main()
