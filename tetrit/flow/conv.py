"""`tetrit run` of a convolutional network: trained, compiled into jobs, run from start to end on the Verilated RTL."""

__all__ = ["run", "verify"]

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import hardware, report
from tetrit.errors import InvalidValueError
from tetrit.flow import conv_result
from tetrit.flow.conv_config import ConvRunConfig
from tetrit.flow.conv_graph import integer_graph
from tetrit.flow.steps import Steps, bench_block, head_block, verify_block
from tetrit.hls.integer import IntegerGraph
from tetrit.hls.jobs import JobProgram, compile_jobs
from tetrit.rtl.coprocessor import header
from tetrit.sim.coprocessor.cycles import MemoryTiming
from tetrit.train import cnn, digits
from tetrit.verify import BenchResult, tools
from tetrit.verify.batch import Library
from tetrit.verify.network import SLOW_MEMORY, NetworkRun, build_coprocessor, run_network
from tetrit.verify.waves import Waves

Progress = Callable[[str, int, Any], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Learned:
    """The network that goes to hardware, and what the report says of all of them."""

    graph: IntegerGraph
    images: npt.NDArray[np.int64]
    accuracy: dict[str, Any]
    training: dict[str, Any]


def run(config: ConvRunConfig, out_dir: Path, *, progress: bool = False, waves: Waves | None = None) -> dict[str, Any]:
    """Run a configuration for the co-processor; write its report, job list and memory image. See `tetrit.flow.run`."""
    # whatever can be wrong outside the configuration, found before the work begins
    report.check_directory(out_dir)
    report.require()
    data = digits.load(held_out=config.held_out, split_seed=config.split_seed)
    _check(config, data)
    if config.verify_images:
        tools.find()
    steps = Steps(progress=progress)
    with ThreadPoolExecutor(max_workers=1) as pool:
        # Verilator and the compiler work in processes of their own, beside the training
        built: Future[Library] | None = None
        if config.verify_images:
            built = pool.submit(build_coprocessor, config.unit, build_dir=out_dir / "models", waves=waves)
        try:
            with steps.timed("train"):
                learned = _learn(config, data, progress=progress)
            steps.say("compiling into jobs")
            with steps.timed("compile"):
                program = _compiled(config, learned.graph, config.host_cycles_per_byte)
                ways = conv_result.ways(program, lambda rate: _compiled(config, learned.graph, rate))
            seen: NetworkRun | None = None
            slow: NetworkRun | None = None
            if built is not None:
                with steps.timed("wait for the executable co-processor"):
                    library = built.result()
                with steps.timed("verify"):
                    seen = _verified(config, program, learned, library, config.verify_images, None, steps, waves)
                    if config.slow_images:
                        n_images = config.slow_images
                        slow = _verified(config, program, learned, library, n_images, SLOW_MEMORY, steps, waves)
        finally:
            if built is not None:
                built.cancel()
    made = head_block(config, learned.accuracy, learned.training, steps)
    made |= conv_result.blocks(config, program, len(learned.images), seen, slow)
    made["coprocessor"]["schedules"] = ways
    benches = [] if seen is None else seen.benches("the co-processor")
    benches += [] if slow is None else slow.benches("the whole network, memory that waits")
    if benches:
        made["verify"] = verify_block([bench_block(bench, "output_stationary") for bench in benches])
    files: dict[str, str | bytes] = {f"jobs/{name}": text for name, text in program.files(header()).items()}
    report.write(made, out_dir, files | {"machine.toml": hardware.to_toml(config.machine)})
    return made


def verify(
    config: ConvRunConfig, *, build_dir: Path | None = None, progress: bool = False, waves: Waves | None = None
) -> list[BenchResult]:
    """Train the first seed's network and run its held-out images on the Verilated co-processor.

    Parameters
    ----------
    config : ConvRunConfig
        With images to verify.
    build_dir : Path, optional
        Where executable models are kept.
    progress : bool
        Whether progress is shown.
    waves : Waves, optional
        What is recorded.
    """
    data = digits.load(held_out=config.held_out, split_seed=config.split_seed)
    _check(config, data)
    config = replace(config, seeds=config.seeds[:1])
    steps = Steps(progress=progress)
    library = build_coprocessor(config.unit, build_dir=build_dir, waves=waves)
    learned = _learn(config, data, progress=progress)
    program = _compiled(config, learned.graph, config.host_cycles_per_byte)
    seen = _verified(config, program, learned, library, config.verify_images, None, steps, waves)
    return seen.benches("the co-processor")


def _check(config: ConvRunConfig, data: digits.Dataset) -> None:
    if config.verify_images > len(data.test_x):
        raise InvalidValueError(
            f"[verify]: `images` must be at most the {len(data.test_x)} held-out ones, got {config.verify_images}"
        )
    side = round(data.train_x.shape[1] ** 0.5)
    try:
        config.training.shapes((side, side, 1))
    except InvalidValueError as error:
        raise InvalidValueError(f"[network]: {error}") from None


def _compiled(config: ConvRunConfig, graph: IntegerGraph, rate: float) -> JobProgram:
    return compile_jobs(graph, config.unit, batch=config.batch, host_cycles_per_byte=rate)


def _verified(
    config: ConvRunConfig,
    program: JobProgram,
    learned: _Learned,
    library: Library,
    n_images: int,
    timing: MemoryTiming | None,
    steps: Steps,
    waves: Waves | None,
) -> NetworkRun:
    """Run held-out images on the RTL."""
    steps.say(f"running {n_images} images on the Verilated co-processor{' with a slow memory' if timing else ''}")
    return run_network(
        program,
        learned.images[:n_images],
        library=library,
        timing=timing,
        seed=config.seeds[0] % 2**16,
        waves=waves,
        name=f"network on MatmulCoprocessor{', memory that waits' if timing else ''}",
    )


def _learn(config: ConvRunConfig, data: digits.Dataset, *, progress: bool) -> _Learned:
    """Train a network for each seed, and run all held-out images through each in integers."""
    per_seed: list[dict[str, Any]] = []
    first: tuple[IntegerGraph, cnn.TrainedConv] | None = None
    images: npt.NDArray[np.int64] | None = None
    for seed in config.seeds:
        with _bar(config, seed, progress) as step:
            plain = cnn.train_float(data, seed=seed, config=config.training, step=step)
            trained = cnn.train_quantized(
                data, plain, config.estimator.estimator, seed=seed, config=config.training, step=step
            )
        graph = integer_graph(trained, data.train_x, data.in_scale, config.machine)
        images = data.test_x.astype(np.int64).reshape(-1, *trained.shape)
        logits = graph.run(images)[graph.outputs[0]]
        right = float((logits.argmax(axis=1) == data.test_y).mean())
        per_seed.append({"seed": seed, "float": plain.accuracy, "quantized": trained.accuracy, "machine": right})
        first = first or (graph, trained)
    assert first is not None
    assert images is not None
    graph, trained = first
    means = {key: float(np.mean([entry[key] for entry in per_seed])) for key in ("float", "quantized", "machine")}
    history = [
        {
            "seed": config.seeds[0],
            "epoch": number,
            "loss": epoch.loss,
            "train_accuracy": epoch.train_accuracy,
            "test_accuracy": epoch.test_accuracy,
        }
        for number, epoch in enumerate(trained.history, 1)
    ]
    return _Learned(
        graph=graph,
        images=images,
        accuracy={**means, "per_seed": per_seed, "by_estimator": [], "n_test": len(images)},
        training={
            "epochs": config.training.quantized_epochs,
            "history": history,
            "weight_codes": conv_result.weight_codes(graph),
        },
    )


@contextmanager
def _bar(config: ConvRunConfig, seed: int, shown: bool) -> Iterator[Progress | None]:
    """Yield what draws a progress bar over the epochs of a seed's trainings, or None."""
    if not shown:
        yield None
        return
    from tqdm import tqdm

    total = config.training.epochs + config.training.quantized_epochs
    with tqdm(total=total, desc=f"seed {seed}", unit="epoch", leave=True) as bar:

        def step(name: str, epoch: int, found: Any) -> None:
            bar.set_postfix_str(f"{name}, epoch {epoch}: loss {found.loss:.3f}, test {found.test_accuracy:.2%}")
            bar.update()

        yield step
