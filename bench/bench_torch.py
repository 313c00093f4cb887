"""Torch quantisers beside hand-written PyTorch and Brevitas, and a quantised training step beside a plain float one.

Forward and backward of one 1024 x 1024 float32 weight, in one process and in turns. The hand-written code is the
shortest that we could write for the same rule with `detach`; Brevitas' quantiser is its nearest one. The training step
is that of an MLP 784-256-10 at batch 128 with SGD, weights (and, in the last rows, activations too) quantised. `qkr` is
measured in processor time on one thread: its forward product is float64 in a fixed order, all others are float32.
"""

import statistics
import time
from functools import partial
from random import Random

import torch
from _common import machine, write
from brevitas import nn as qnn
from brevitas import quant
from brevitas.core.function_wrapper import TensorClamp
from brevitas.inject.enum import ScalingImplType, StatsOp
from brevitas.quant.float_quant_ocp import FpOCPWeightPerTensorFloat
from torch import nn

from tetrit.train import Plan, Schedule, prepare, quantizer

REPEATS = 60
SIDE = 1024
FLOAT4 = {"weight_bit_width": 4, "weight_exponent_bit_width": 2, "weight_mantissa_bit_width": 1}


def ste(w):
    s = w.detach().abs().max() / 7
    return w + ((w / s).round().clamp(-7, 7) * s - w).detach()


def ste_rows(w):
    s = w.detach().abs().amax(1, keepdim=True) / 7
    return w + ((w / s).round().clamp(-7, 7) * s - w).detach()


def ternary(w):
    a = w.detach().abs()
    kept = a > 0.7 * a.mean()
    return w + (w.sign() * kept * ((a * kept).sum() / kept.sum()) - w).detach()


def statsq(w):
    s = 2 * w.detach().abs().mean(1, keepdim=True)
    v = (w / s).clamp(-1, 1 - 1e-6)
    return w + (s * ((v * 8 - 0.5).round() + 0.5) / 8 - w).detach()


def reste(w):
    s = w.detach().abs().mean()
    f = torch.where(w.abs() <= 0.1, 0.1 ** (1 / 3 - 1) * w, w.sign() * w.abs() ** (1 / 3)) * (w.abs() <= 1.5)
    return s * (f + (w.sign() - f).detach())


def biper(w):
    y = torch.sin(20 * w)
    return y + (y.sign() - y).detach()


def rounding(w):
    s = w.detach().abs().max() / 7
    return w + (torch.floor(w / s + torch.rand_like(w)) * s - w).detach()


def fp4(w, scale=0.5):
    y = (w / scale).clamp(-6, 6)
    step = torch.exp2(torch.log2(y.detach().abs().clamp(min=1)).floor() - 1)
    return (y + ((y / step).round() * step - y).detach()) * scale


def fp4_searched(w):
    given = w.detach()
    top = torch.exp2(torch.log2(given.abs().max()).floor() + 1)
    return fp4(w, min((top * 2.0**-i for i in range(4)), key=lambda scale: (fp4(given, scale) - given).square().sum()))


class LSQ(nn.Module):
    """Learned step size by `detach`."""

    def __init__(self, w):
        super().__init__()
        self.step = nn.Parameter(2 * w.detach().abs().mean() / 7**0.5)

    def forward(self, w):  # noqa: D102
        factor = 1 / (w.numel() * 7) ** 0.5
        s = self.step * factor + (self.step - self.step * factor).detach()
        z = (w / s).clamp(-8, 7)
        return (z + (z.round() - z).detach()) * s


class SRSTE(torch.autograd.Function):
    """The two largest of every four neighbours along the inputs, as int8; the others decay."""

    @staticmethod
    def forward(ctx, w):  # noqa: D102
        a = w.abs().view(len(w), -1, 4)
        kept = torch.zeros_like(a, dtype=torch.bool).scatter_(2, a.topk(2, 2).indices, True).view_as(w)
        ctx.save_for_backward(w, kept)
        s = a.max() / 127
        return (w / s).round() * s * kept

    @staticmethod
    def backward(ctx, grad):  # noqa: D102
        w, kept = ctx.saved_tensors
        return grad + 2e-4 * (~kept * w)


class ASQ(nn.Module):
    """Step and factor learned, and the factor not undone."""

    def __init__(self, w):
        super().__init__()
        self.step = nn.Parameter(2 * w.detach().abs().mean() / 15**0.5)
        self.beta = nn.Parameter(torch.tensor(1.0))

    def forward(self, w):  # noqa: D102
        factor = 1 / (w.numel() * 15) ** 0.5
        s = self.step * factor + (self.step - self.step * factor).detach()
        z = (w / (s * self.beta)).clamp(0, 15)
        return (z + (z.round() - z).detach()) * s


class ClippedSign(quant.SignedBinaryWeightPerTensorConst):
    """Brevitas' binary quantiser, its gradient 0 beyond the clip as that of ReSTE; clips no latent weight in place."""

    tensor_clamp_impl = TensorClamp


def brevitas(base, **settings):
    layer = qnn.QuantLinear(SIDE, SIDE, bias=False, weight_quant=base, **settings)
    return lambda w: layer.weight_quant(w).value


def cases(w):
    """Return for every row of the table: our module, the hand-written function, Brevitas' quantiser."""
    lsq = quantizer("lsq")
    lsq.start(w.detach())
    asq = quantizer("asq", axis=None)
    asq.start(w.detach())
    int4 = brevitas(quant.Int8WeightPerTensorFloat, weight_bit_width=4)
    int4_rows = brevitas(quant.Int8WeightPerChannelFloat, weight_bit_width=4)
    int8 = brevitas(quant.Int8WeightPerTensorFloat)
    learned = {"weight_scaling_impl_type": ScalingImplType.PARAMETER_FROM_STATS}
    statistic = {"weight_scaling_impl_type": ScalingImplType.STATS, "weight_scaling_stats_op": StatsOp.AVE}
    tern = brevitas(quant.SignedTernaryWeightPerTensorConst, **statistic)
    float4 = brevitas(FpOCPWeightPerTensorFloat, **FLOAT4)
    sign = brevitas(quant.SignedBinaryWeightPerTensorConst)
    clipped_sign = brevitas(ClippedSign, **statistic)
    return {
        "ste int4": (quantizer("ste", format="int4"), ste, int4),
        "ste int4, per channel": (quantizer("ste", format="int4", axis=0), ste_rows, int4_rows),
        "szt": (quantizer("szt"), ternary, tern),
        "lsq int4": (lsq, LSQ(w), brevitas(quant.Int8WeightPerTensorFloat, weight_bit_width=4, **learned)),
        "statsq 4 bit, per channel": (quantizer("statsq", axis=0), statsq, int4_rows),
        "reste": (quantizer("reste"), reste, clipped_sign),
        "biper": (quantizer("biper"), biper, sign),
        "sr_ste": (quantizer("sr_ste", along=1), SRSTE.apply, int8),
        "asq": (asq, ASQ(w), int4),
        "stochastic_rounding int4": (quantizer("stochastic_rounding"), rounding, int4),
        "ste_format fp4, scale fixed": (quantizer("ste_format", scale=0.5), fp4, float4),
        "ste_format fp4, scale searched": (quantizer("ste_format"), fp4_searched, float4),
    }


def medians(jobs, repeats, clock=time.perf_counter):
    """Return the median milliseconds of jobs that take turns, after three rounds that do not count.

    Their order changes from round to round: a job pays for the caches and the memory that the one before it leaves.
    """
    times = {name: [] for name in jobs}
    order, random = list(jobs), Random(0)
    for turn in range(repeats + 3):
        random.shuffle(order)
        for name in order:
            start = clock()
            jobs[name]()
            if turn >= 3:
                times[name].append(1e3 * (clock() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def quantisers():
    torch.manual_seed(0)
    w = torch.randn(SIDE, SIDE, requires_grad=True)
    grad = torch.randn(SIDE, SIDE)

    def job(function):
        own = w.detach().clone().requires_grad_()  # Brevitas' binary quantiser clamps the weight itself

        def run():
            own.grad = None
            function(own).backward(grad)

        return run

    rows = {}
    print(
        f"{'quantiser, forward + backward':30}{'tetrit ms':>10}{'by hand':>10}{'Brevitas':>10}{'hand/t':>8}{'B/t':>8}"
    )
    for name, functions in cases(w).items():
        functions[0].set_progress(1.0)  # what is quantised at the end of the training, as it is by hand
        ours, hand, theirs = medians(dict(enumerate(map(job, functions))), REPEATS).values()
        rows[name] = {"tetrit_ms": ours, "by_hand_ms": hand, "brevitas_ms": theirs}
        print(f"{name:30}{ours:10.2f}{hand:10.2f}{theirs:10.2f}{hand / ours:10.2f}{theirs / ours:10.2f}")
    return rows


def query_key(w):
    p = w[0].transpose(1, 2) @ w[1]
    s = 2 * p.detach().abs().mean(2, keepdim=True)
    v = (p / s).clamp(-1, 1 - 1e-6)
    return p + (s * ((v * 8 - 0.5).round() + 0.5) / 8 - p).detach()


def products():
    """Measure `qkr` against the same by hand, for heads of d_head x d_model."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = {}
    print(f"\n{'qkr, forward + backward, CPU time':34}{'tetrit ms':>10}{'by hand':>10}{'hand/t':>8}")
    for heads, d_head, d_model, repeats in ((4, 32, 128, 60), (4, 64, 256, 60), (12, 64, 768, 8)):
        w = (0.1 * torch.randn(2, heads, d_head, d_model)).requires_grad_()
        grad = torch.randn(heads, d_model, d_model)

        def run(function, w=w, grad=grad):
            w.grad = None
            function(w).backward(grad)

        jobs = {"tetrit": partial(run, quantizer("qkr")), "by hand": partial(run, query_key)}
        ours, hand = medians(jobs, repeats, time.process_time).values()
        rows[f"{heads} x {d_head} x {d_model}"] = {"tetrit_ms": ours, "by_hand_ms": hand}
        print(f"{f'{heads} heads of {d_head} x {d_model}':34}{ours:10.2f}{hand:10.2f}{hand / ours:8.2f}")
    torch.set_num_threads(threads)
    return rows


def steps():
    torch.manual_seed(0)
    x, y = torch.rand(128, 784), torch.randint(10, (128,))

    def job(weight, activation=None):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
        if weight:
            layer = {"match": "*", "weight": weight}
            if activation:
                layer["activation"] = activation
            model = prepare(model, Plan.from_toml({"layer": [layer]}), example=x)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        schedule = Schedule(model, total_steps=1000) if weight else None

        def run():
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            if schedule:
                schedule.step()

        return run

    jobs = {
        "float": job(None),
        "szt weights": job({"name": "szt", "axis": 0}),
        "int8 weights": job({"name": "ste", "format": "int8", "axis": 0}),
        "lsq int4 weights": job({"name": "lsq", "axis": 0}),
        "szt weights, int8 activations": job({"name": "szt", "axis": 0}, {"name": "ste_clipped", "limit": 4.0}),
        "lsq int4 weights and activations": job({"name": "lsq", "axis": 0}, {"name": "lsq"}),
    }
    ms = medians(jobs, 300)
    print(f"\n{'training step of the MLP':34}{'ms':>8}{'/ float':>9}")
    for name, value in ms.items():
        print(f"{name:34}{value:8.2f}{value / ms['float']:9.2f}")
    return ms


def main():
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, medians; {machine()['cpu']}")
    figures = {"quantisers": quantisers(), "step_ms": steps(), "qkr": products()}
    write("torch", {"torch": torch.__version__, **figures})


if __name__ == "__main__":
    main()
