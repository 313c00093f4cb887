"""`tetrit verify`: the RTL benches, with one line for each."""

__all__ = ["command"]

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tetrit.cli._options import table
from tetrit.cli._waves import recorder, waves_summary, waves_window_options

if TYPE_CHECKING:
    from tetrit.verify import BenchResult
    from tetrit.verify.waves import Waves


@click.command()
@click.argument("targets", nargs=-1, metavar="[COMPONENT|GROUP|CONFIG.toml]...")
@click.option("--cases", type=click.IntRange(min=1), help="Random cases of a component.  [default: the bench's own]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all random cases.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep Verilog and built simulators here for the next time.  [default: build/verify]",
)
@click.option("--formal", is_flag=True, help="Prove instead, for all inputs, what can be proved of the components.")
@click.option(
    "--waves",
    "waves_dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Record waveforms here: FST, with views for GTKWave and Surfer. Around the first mismatch, if there is one.",
)
@waves_window_options
@click.pass_context
def command(
    ctx: click.Context,
    targets: tuple[str, ...],
    cases: int | None,
    seed: int,
    keep: Path | None,
    formal: bool,
    waves_dir: Path | None,
    waves_cycles: int | None,
    waves_from: int | None,
) -> None:
    """Check the RTL against the golden model in Verilator.

    A COMPONENT runs its benches, on random cases; the GROUPs are `shift`, `simd` and `coprocessor`. A CONFIG.toml runs
    the network that it describes: its own tiles and activations. Without arguments, all components. The exit code is 1
    if a bench finds a difference.
    """
    from tetrit import verify

    configs = [Path(target) for target in targets if target.endswith(".toml")]
    names = [target for target in targets if not target.endswith(".toml")]
    components = verify.selected(names) if names or not configs else ()
    if formal:
        if configs:
            raise click.UsageError("--formal is about components, not about a CONFIG.toml")
        if waves_dir is not None:
            raise click.UsageError("--waves is about runs, and --formal proves without one")
        ctx.exit(_proofs(components, keep))
    waves = recorder(waves_dir, waves_cycles, waves_from)
    progress = sys.stderr.isatty()
    results: list[BenchResult] = []
    if components:
        results += verify.run(components, seed=seed, cases=cases, build_dir=keep, progress=progress, waves=waves)
    for path in configs:
        results += _network(path, keep, progress, waves)
    rows = [
        (
            each.name,
            each.level,
            str(each.vectors),
            str(each.mismatches),
            "" if each.cycles_rtl is None else str(each.cycles_rtl),
            "" if each.cycles_model is None else str(each.cycles_model),
            "passed" if each.passed else f"FAILED: {each.message}",
        )
        for each in results
    ]
    click.echo(table(("bench", "level", "vectors", "mismatches", "cycles RTL", "cycles model", "result"), rows))
    failed = sum(not each.passed for each in results)
    click.echo(f"{len(results)} benches: {len(results) - failed} passed, {failed} failed (seed {seed})")
    if waves is not None:
        click.echo(waves_summary(waves))
    ctx.exit(1 if failed else 0)


def _proofs(components: tuple[str, ...], keep: Path | None) -> int:
    """Prove what can be proved of components; return the exit code."""
    from tetrit import verify

    found = verify.prove(components, build_dir=keep)
    rows = [
        (
            each.name,
            each.component,
            each.method,
            f"{each.seconds:.1f}",
            "proved" if each.proved else f"FAILED: {each.counterexample}",
        )
        for each in found
    ]
    click.echo(table(("claim", "component", "by", "seconds", "result"), rows))
    failed = sum(not each.proved for each in found)
    click.echo(f"{len(found)} claims: {len(found) - failed} proved, {failed} failed")
    return 1 if failed else 0


def _network(path: Path, keep: Path | None, progress: bool, waves: "Waves | None") -> "list[BenchResult]":
    """Train the network of a configuration, the first seed only, and run it on the Verilated machine."""
    from dataclasses import replace

    from tetrit import verify
    from tetrit.errors import InvalidValueError
    from tetrit.flow import config, conv, learning, simd_learning
    from tetrit.flow.conv_config import ConvRunConfig
    from tetrit.flow.simd_config import SimdRunConfig
    from tetrit.train import digits

    chosen = config.load(path)
    if chosen.verify_images == 0:
        raise InvalidValueError(f"{path}: [verify]: `images` is 0, so there is nothing to verify")
    if isinstance(chosen, ConvRunConfig):
        return conv.verify(chosen, build_dir=keep, progress=progress, waves=waves)
    data = digits.load(held_out=chosen.held_out, split_seed=chosen.split_seed)
    if isinstance(chosen, SimdRunConfig):
        chosen = replace(chosen, seeds=chosen.seeds[:1])
        formatted = simd_learning.learn(chosen, data, step=lambda _: None, progress=progress)
        images = formatted.images[: chosen.verify_images]
        return verify.run_simd_program(formatted.program, images, build_dir=keep, waves=waves)
    learning.check_fit(chosen, data)
    learned = learning.learn(replace(chosen, seeds=chosen.seeds[:1], compare=()), data, progress=progress)
    images = learned.images[: chosen.verify_images]
    return verify.run_program(learned.program, images, build_dir=keep, waves=waves)
