"""The main job's network trained on in PyTorch, with a crossbar in its forward pass."""

__all__ = ["check", "train_on"]

import dataclasses

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from tetrit import estimators
from tetrit.errors import InvalidValueError
from tetrit.estimators.tables import to_table
from tetrit.hardware import Crossbar
from tetrit.train import digits, mlp
from tetrit.train.network import Layer, Network, one_thread
from tetrit.train.noise import noise_aware
from tetrit.train.qat import Plan, Rule, low_bit_layers


def check(estimator: estimators.Estimator, machine: Crossbar) -> None:
    """Raise InvalidValueError if the crossbar cannot be trained on, or not with the estimator."""
    layer = Layer(latent=np.ones((2, 2), np.float32), bias=np.zeros(2, np.float32), estimator=estimator)
    _model(Network(layers=[layer]), estimator, machine, redraw="batch", seed=0)


def train_on(
    trained: mlp.Trained,
    estimator: estimators.Estimator,
    data: digits.Dataset,
    machine: Crossbar,
    *,
    epochs: int = 20,
    batch: int = 64,
    rate: float = 1e-3,
    redraw: str = "batch",
    smoothing: float = 0.1,
    progress: bool = False,
) -> tuple[mlp.Trained, list[float]]:
    """Train a network further with the crossbar simulated in every forward pass, and the clean backward pass.

    The same seed gives the same network on the same machine, whatever the number of threads: all runs on one.

    Parameters
    ----------
    trained : mlp.Trained
        Of `mlp.train_quantized`.
    estimator : Estimator
        That it was trained with, an `axis` as for weights of shape (n_in, n_out).
    data : Dataset
    machine : Crossbar
    epochs, batch : int
    rate : float
        Peak learning rate of Adam, which falls to zero along a half cosine.
    redraw : {"batch", "epoch", "chip"}
        When another chip is drawn, see `noise_aware`.
    smoothing : float
        Of the labels.
    progress : bool

    Returns
    -------
    mlp.Trained
        Its ranges of activations calibrated anew; its accuracy is that of fake-quantised float arithmetic.
    list of float
        Mean loss of every epoch.

    Raises
    ------
    InvalidValueError
        The training diverged, or the machine or the estimator does not fit.
    """
    from tqdm import tqdm

    seed = trained.seed
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = _model(trained.network, estimator, machine, redraw=redraw, seed=seed)
            x = torch.from_numpy(data.train_x * np.float32(data.in_scale))
            y = torch.from_numpy(data.train_y)
            optimiser = torch.optim.Adam(model.parameters(), lr=rate)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
            losses = []
            for _ in tqdm(range(epochs), f"on the crossbar, seed {seed}", disable=not progress, unit="epoch"):
                model.train()
                total = 0.0
                for picked in torch.randperm(len(x)).split(batch):
                    optimiser.zero_grad()
                    loss = cross_entropy(model(x[picked]), y[picked], label_smoothing=smoothing)
                    loss.backward()
                    optimiser.step()
                    total += float(loss.detach()) * len(picked)
                schedule.step()
                losses.append(total / len(x))
                if not np.isfinite(losses[-1]):
                    raise InvalidValueError("training on the crossbar diverged; lower the `rate`")
            network = _back(model, trained.network, estimator)
    finally:
        torch.set_num_threads(threads)
    scale = np.float32(data.in_scale)
    with one_thread():
        mlp.calibrate(network, data.train_x * scale)
        accuracy = network.accuracy(data.test_x * scale, data.test_y)
    return dataclasses.replace(trained, network=network, accuracy=accuracy, history=()), losses


def _model(
    network: Network, estimator: estimators.Estimator, machine: Crossbar, *, redraw: str, seed: int
) -> nn.Module:
    """Return the network in PyTorch, its layers on the crossbar."""
    layers: list[nn.Module] = []
    for layer in network.layers:
        n_in, n_out = layer.latent.shape
        linear = nn.Linear(n_in, n_out)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(np.ascontiguousarray(layer.latent.T)))
            linear.bias.copy_(torch.from_numpy(layer.bias))
        layers += [linear, nn.ReLU()] if layer.relu else [linear]
    table = to_table(estimator)
    if table.get("axis") is not None:
        table["axis"] = "output"
    plan = Plan(rules=(Rule(match="*", weight=table),))
    return noise_aware(nn.Sequential(*layers), machine, plan, redraw=redraw, seed=seed)


def _back(model: nn.Module, start: Network, estimator: estimators.Estimator) -> Network:
    """Return the trained network for numpy, with what its estimators learned."""
    layers = []
    for low_bit, layer in zip(low_bit_layers(model).values(), start.layers, strict=True):
        weight, bias, quantizer = low_bit.weight, low_bit.bias, low_bit.quantizer_of("weight")
        assert isinstance(weight, torch.Tensor) and isinstance(bias, torch.Tensor) and quantizer is not None
        learned = quantizer.estimator
        if hasattr(estimator, "axis"):
            learned = dataclasses.replace(learned, axis=estimator.axis)  # type: ignore[call-arg]
        layers.append(
            dataclasses.replace(
                layer,
                latent=np.ascontiguousarray(weight.detach().numpy().T, dtype=np.float32),
                bias=np.array(bias.detach().numpy(), dtype=np.float32),
                estimator=learned,
            )
        )
    return Network(layers=layers)
