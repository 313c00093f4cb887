"""`tetrit run`: from a configuration to a report, through training, mapping, simulation, verification and synthesis."""

__all__ = ["run"]

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tetrit import hardware, report, rtl, verify
from tetrit.errors import InvalidValueError
from tetrit.flow import analog, conv, crossbar_costs, result, simd, throughput
from tetrit.flow import config as configs
from tetrit.flow.conv_config import ConvRunConfig
from tetrit.flow.gates import Gates, LayerEnergy
from tetrit.flow.learning import check_fit, learn
from tetrit.flow.simd_config import SimdRunConfig
from tetrit.flow.steps import Steps, bench_block, cycles_block, head_block, verify_block
from tetrit.rtl import yosys
from tetrit.sim.execute import LayerRun, execute
from tetrit.train import digits
from tetrit.verify import tools
from tetrit.verify.waves import Waves

SOURCES = [
    "E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (1998)",
    "J. Uhlmann, Signed-Zero Ternary, arXiv 2508.05905 (2025): the format; thresholds, codes and surrogate are ours",
    "Z. Yao et al., HAWQ-V3, arXiv 2011.10680: dyadic requantisation",
    "IHP SG13G2 open cell library, Apache-2.0: areas, delays, capacitances and energies of cells",
    "M. Horowitz, Computing's energy problem, ISSCC 2014: memory energies of the presets",
]


def run(config_path: Path, out_dir: Path, *, progress: bool = False, waves: Waves | None = None) -> dict[str, Any]:
    """Run a configuration and write its report.

    Parameters
    ----------
    config_path : Path
        See `tetrit.flow.config`.
    out_dir : Path
        Where report, plots and Verilog go, all at the end; executable models are kept in its folder ``models``.
    progress : bool
        Whether to draw progress bars.
    waves : Waves, optional
        What is recorded of the verified RTL.

    Returns
    -------
    dict
        The report, see its schema; the same for the same configuration, its ``timings`` apart.

    Raises
    ------
    InvalidValueError
        The configuration is wrong, or `out_dir` cannot be written.
    ToolError
        A compiler, Verilator or Yosys is missing or fails.
    """
    config = configs.load(config_path)
    if waves is not None and not config.verify_images:
        raise InvalidValueError(f"{config_path}: [verify]: `images` is 0, so there is nothing to record waveforms of")
    if isinstance(config, SimdRunConfig):
        return simd.run(config, out_dir, progress=progress, waves=waves)
    if isinstance(config, ConvRunConfig):
        return conv.run(config, out_dir, progress=progress, waves=waves)
    # whatever can be wrong outside the configuration, found before the work begins
    report.check_directory(out_dir)
    report.require()
    yosys.require()
    rtl.require_energy(rtl.load_technology(config.library, config.liberty))
    data = digits.load(held_out=config.held_out, split_seed=config.split_seed)
    check_fit(config, data)
    if config.crossbar is not None:
        with configs.located(config_path):
            analog.check(config, config.crossbar, data)
    if config.verify_images:
        tools.find()
    steps = Steps(progress=progress)
    say, timed = steps.say, steps.timed

    machine = config.machine
    with ThreadPoolExecutor(max_workers=1) as pool:
        # Yosys works in processes of its own, beside the training
        synthesis = pool.submit(Gates.synthesise, machine, config.library, config.liberty)
        try:
            with timed("train"):
                learned = learn(config, data, progress=progress)
            with timed("simulate"):
                runs = execute(learned.program, learned.images)
            benches = []
            if config.verify_images:
                say(f"running {config.verify_images} images on the Verilated RTL")
                with timed("verify"):
                    images = learned.images[: config.verify_images]
                    models = out_dir / "models"
                    benches = verify.run_program(learned.program, images, build_dir=models, waves=waves)
            with timed("wait for synthesis"):
                gates = synthesis.result()
            gates.check_clock()
        finally:
            synthesis.cancel()
        energies = []
        with timed("switching activity"):
            for layer in runs:
                say(f"running {layer.layer.name} on the netlist")
                energies.append(gates.run(layer))
        chips: dict[str, Any] | None = None
        if config.crossbar is not None:
            with timed("crossbar"), configs.located(config_path):
                chips = analog.evaluate(config, config.crossbar, learned, data, step=say, progress=progress)
    made = head_block(config, learned.accuracy, learned.training, steps)
    made |= {"assumptions": result.assumptions(gates, machine, runs), "sources": SOURCES}
    made |= _hardware(config, gates, runs, energies)
    sums = f"{machine.acc_bits}-bit sums, exact"
    made |= throughput.digital(made, machine.activations.bits, machine.weights.bits, sums)
    if config.crossbar is not None and chips is not None:
        made["crossbar"] = chips
        made["assumptions"] += analog.assumptions(config.crossbar)
        made["assumptions"] += crossbar_costs.assumptions(config.crossbar, chips)
        made["sources"] = [*SOURCES, *analog.sources(config.crossbar)]
    made["verify"] = _verify(benches, runs, energies, machine)
    array = rtl.to_verilog(rtl.build("ShiftPEArray", machine), "ShiftPEArray")
    requantizer = rtl.to_verilog(rtl.build("Requantizer", machine), "Requantizer")
    files: dict[str, str | bytes] = {
        "ShiftPEArray.v": array,
        "Requantizer.v": requantizer,
        "ShiftPEArray_gates.v": gates.array.netlist,
        "machine.toml": hardware.to_toml(machine),
    }
    if config.crossbar is not None:
        files["crossbar.toml"] = hardware.to_toml(config.crossbar.machine)
    report.write(made, out_dir, files)
    return made


def _hardware(
    config: configs.RunConfig, gates: Gates, runs: list[LayerRun], energies: list[LayerEnergy]
) -> dict[str, Any]:
    """Return the blocks on layers, cycles, energy, area and synthesis."""
    machine = config.machine
    layers = result.layer_blocks(runs, energies, machine)
    n_images = len(runs[0].input)
    energy = result.energy_block(layers, machine)
    blocks = cycles_block(layers, machine, n_images) | {
        "energy_uj": energy,
        "energy_per_image_nj": 1000.0 * energy["total"] / n_images,
        "area_mm2": result.area_block(gates),
        "synthesis": [result.synthesis_block(s) for s in (gates.array, gates.decoder, gates.requantizer)],
        "roofline": result.roofline(layers, machine),
    }
    comparison = gates.szt_vs_ternary()
    if comparison is not None:
        blocks["szt_vs_ternary"] = comparison
    return blocks


def _verify(
    benches: list[verify.BenchResult], runs: list[LayerRun], energies: list[LayerEnergy], machine: hardware.ShiftArray
) -> dict[str, Any]:
    """Return the block on verification: the RTL under cocotb, and the netlist that energy was counted on."""
    entries = [bench_block(bench, machine.dataflow if bench.component == "ShiftPEArray" else None) for bench in benches]
    entries += [
        {
            "name": f"{run.layer.name} on ShiftPEArray",
            "component": "ShiftPEArray",
            "level": "gates",
            "dataflow": machine.dataflow,
            "vectors": energy.vectors,
            "mismatches": energy.mismatches,
            "cycles_rtl": energy.cycles or None,
            "cycles_model": run.run.cycles,
            "cases": 1,
            "passed": energy.mismatches == 0,
            "message": "",
        }
        for run, energy in zip(runs, energies, strict=True)
    ]
    return verify_block(entries)
