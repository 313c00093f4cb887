"""Held-out accuracy of a small LeNet on digits, quantised without training, by weight format.

Run from the repository root: ``python bench/integer_networks.py`` (half a minute); prints the table of
docs/integer_networks.md. One seed, one thread: the same figures each time on one machine.
"""

import numpy as np
import torch
from torch import nn

from tetrit import hls
from tetrit.hls.integer import channels_last
from tetrit.train import digits
from tetrit.train.models.lenet import LeNet

WEIGHTS = ("int8", "int6", "fp4_e2m1", "int4", "int3", "posit4_1", "pot4z", "pot3z", "szt")
STEPS, BATCH = 200, 64


def main() -> None:
    """Train, quantise in each format, print."""
    torch.set_num_threads(1)
    data = digits.load()
    x, y = real(data.train_x), torch.from_numpy(data.train_y)
    torch.manual_seed(0)
    model = LeNet(shape=(1, 8, 8), channels=(6, 12), kernel=3, hidden=(24,), classes=10)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(STEPS):
        batch = torch.arange(step * BATCH, (step + 1) * BATCH) % len(x)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        found = model(real(data.test_x)).argmax(1).numpy()
    print("| weights | held-out accuracy | widest accumulator |\n|---|---|---|")
    print(f"| float | {np.mean(found == data.test_y):.1%} | |")
    graph = hls.from_torch(model, torch.zeros(BATCH, 1, 8, 8))
    calibration = x[:256].numpy()
    for weight_format in WEIGHTS:
        net = hls.quantize(graph, calibration, weight_format=weight_format, scales={"x": data.in_scale})
        out = net.run(channels_last(data.test_x.reshape(-1, 1, 8, 8)))[net.outputs[0]]
        bits = max(net.accumulator_bits().values())
        print(f"| {weight_format} | {np.mean(out.argmax(axis=1) == data.test_y):.1%} | {bits} |")


def real(pixels: np.ndarray) -> torch.Tensor:
    """Return images of integers as the network takes them."""
    return torch.from_numpy(pixels.reshape(-1, 1, 8, 8).astype(np.float32) / 16)


if __name__ == "__main__":
    main()
