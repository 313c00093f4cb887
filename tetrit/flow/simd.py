"""`tetrit run` on a SIMD engine: formats chosen layer by layer, exact sums in quires, every code checked on the RTL."""

__all__ = ["run"]

import re
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tetrit import formats, hardware, report, rtl, verify
from tetrit.errors import InvalidValueError
from tetrit.flow import result, simd_result, throughput
from tetrit.flow.simd_config import SimdRunConfig
from tetrit.flow.simd_learning import SimdLearned, learn
from tetrit.flow.simd_result import SimdGates
from tetrit.flow.steps import Steps, bench_block, cycles_block, head_block, verify_block
from tetrit.hardware import SimdEngine
from tetrit.rtl import yosys
from tetrit.sim.execute import execute
from tetrit.sim.simd.execute import SimdLayerRun
from tetrit.train import digits
from tetrit.verify import tools
from tetrit.verify.model import Model
from tetrit.verify.waves import Waves

SOURCES = [
    "E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (1998)",
    "Chaudhari et al., XR-NPE, arXiv 2508.13049: the formats, and one reconfigurable multiplier for all of them",
    "Standard for Posit Arithmetic (2022): rounding and quire; OCP Microscaling Formats (2023): E2M1",
    "IHP SG13G2 open cell library, Apache-2.0: areas and delays of cells",
    "M. Horowitz, Computing's energy problem, ISSCC 2014: memory energies of the presets",
]

_BUILD = """
import sys, tomllib
from pathlib import Path
from tetrit import hardware, verify
machine = hardware.from_dict(tomllib.loads(sys.stdin.read()))
verify.build_simd_array(machine, build_dir=Path(sys.argv[1]), waves=sys.argv[2] == "1")
"""


def run(config: SimdRunConfig, out_dir: Path, *, progress: bool = False, waves: Waves | None = None) -> dict[str, Any]:
    """Run a configuration for a SIMD engine and write its report; see `tetrit.flow.run`."""
    # whatever can be wrong outside the configuration, found before the work begins
    report.check_directory(out_dir)
    report.require()
    yosys.require()
    rtl.load_technology(config.library, config.liberty)
    data = digits.load(held_out=config.held_out, split_seed=config.split_seed)
    _check_images(config, data)
    if config.verify_images:
        tools.find()
    steps = Steps(progress=progress)
    machine, models = config.machine, out_dir / "models"
    with ThreadPoolExecutor(max_workers=2) as pool:
        # the tools work in processes of their own, beside the training
        synthesis = pool.submit(SimdGates.synthesise, machine, config.library, config.liberty)
        array: Future[Any] | None = None
        if config.verify_images:
            array = pool.submit(_build_array, machine, models, waves is not None)
        try:
            with steps.timed("train"):
                learned = learn(config, data, step=steps.say, progress=progress)
            with steps.timed("simulate"):
                runs = execute(learned.program, learned.images)
            benches: list[verify.BenchResult] = []
            verilog: dict[str, str | bytes] = {}
            if array is not None:
                steps.say(f"running {config.verify_images} images on the Verilated RTL")
                with steps.timed("wait for the executable array"):
                    model = array.result()
                with steps.timed("verify"):
                    images = learned.images[: config.verify_images]
                    benches = verify.run_simd_program(
                        learned.program, images, build_dir=models, model=model, waves=waves
                    )
                text = (model.directory / "design.v").read_text(encoding="utf-8")
                verilog["SimdArray.v"] = re.sub(rf"^module {model.top}\b", "module SimdArray", text, flags=re.MULTILINE)
            with steps.timed("wait for synthesis"):
                gates = synthesis.result()
            gates.check_clock()
        finally:
            synthesis.cancel()
            if array is not None:
                array.cancel()
    made = _report(config, learned, runs, gates, benches, steps)
    report.write(made, out_dir, verilog | {"machine.toml": hardware.to_toml(machine)})
    return made


def _build_array(machine: SimdEngine, directory: Path, waves: bool) -> Model:
    """Build the executable array in a process of its own, so that training need not share Python's lock with it.

    It is found built here then; where that failed, it is built here, and fails with the same error.
    """
    subprocess.run(
        [sys.executable, "-c", _BUILD, str(directory), str(int(waves))],
        input=hardware.to_toml(machine),
        capture_output=True,
        text=True,
    )
    return verify.build_simd_array(machine, build_dir=directory, waves=waves)


def _check_images(config: SimdRunConfig, data: digits.Dataset) -> None:
    """Raise InvalidValueError where more images are asked for than there are."""
    for section, name, wanted, there, kind in (
        ("verify", "images", config.verify_images, len(data.test_x), "held-out"),
        ("formats", "calibration_images", config.calibration_images, len(data.train_x), "training"),
    ):
        if wanted > there:
            raise InvalidValueError(f"[{section}]: `{name}` must be at most the {there} {kind} ones, got {wanted}")


def _report(
    config: SimdRunConfig,
    learned: SimdLearned,
    runs: list[SimdLayerRun],
    gates: SimdGates,
    benches: list[verify.BenchResult],
    steps: Steps,
) -> dict[str, Any]:
    machine = config.machine
    layers = simd_result.layer_blocks(runs, machine)
    n_images = len(learned.images)
    made = head_block(config, learned.accuracy, learned.training, steps) | cycles_block(layers, machine, n_images)
    made |= {
        "formats": learned.formats,
        "area_mm2": simd_result.area_block(gates),
        "synthesis": [result.synthesis_block(s) for s in (gates.element, gates.readout)],
        "assumptions": simd_result.assumptions(gates, runs),
        "sources": SOURCES,
    }
    energy = simd_result.energy_block(layers, machine)
    made |= {"energy_uj": energy, "energy_per_image_nj": 1000.0 * energy["total"] / n_images}
    pairs = {run.layer.pair for run in runs}
    if len(pairs) == 1:  # operations of several widths have no common definition
        act_bits, weight_bits = (formats.get(name).bits for name in pairs.pop())
        made |= throughput.digital(made, act_bits, weight_bits, f"{machine.quire_bits}-bit quires, rounded once")
    if benches:
        made["verify"] = verify_block([bench_block(bench, "output_stationary") for bench in benches])
    return made
