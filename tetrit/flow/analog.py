"""The analog side of a run as a whole: checked before the work begins, trained for if asked, evaluated, explained."""

__all__ = ["assumptions", "check", "evaluate", "sources"]

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from tetrit import hls
from tetrit.errors import InvalidValueError
from tetrit.flow import chips, crossbar_costs
from tetrit.flow.config import RunConfig
from tetrit.flow.crossbar_config import CrossbarConfig
from tetrit.flow.learning import Learned
from tetrit.sim import Chip
from tetrit.sim.execute import check_memory
from tetrit.train import digits
from tetrit.train.integers import export, layer_shapes
from tetrit.train.recipe import noise_aware_trainer


def check(config: RunConfig, crossbar: CrossbarConfig, data: digits.Dataset) -> None:
    """Raise for what is known to fail before any training: images, memory, and what noise-aware training needs."""
    if crossbar.calibration_images > len(data.train_x):
        raise InvalidValueError(
            f"[crossbar]: `calibration_images` must be at most the {len(data.train_x)} training ones, "
            f"got {crossbar.calibration_images}"
        )
    widths = data.train_x.shape[1], *config.training.hidden, data.classes
    try:
        check_memory(crossbar.machine, widths)
        if crossbar.faults is not None:
            crossbar.faults.check(crossbar.machine, layer_shapes(widths))
    except InvalidValueError as error:
        raise InvalidValueError(f"[crossbar]: {error}") from None
    if crossbar.noise_aware is not None:
        trainer = noise_aware_trainer()
        try:
            trainer.check(config.estimator.estimator, crossbar.machine)
        except InvalidValueError as error:
            raise InvalidValueError(f"[crossbar.noise_aware]: {error}") from None


def evaluate(
    config: RunConfig,
    crossbar: CrossbarConfig,
    learned: Learned,
    data: digits.Dataset,
    *,
    step: Callable[[str], None],
    progress: bool,
) -> dict[str, Any]:
    """Return the report's ``crossbar``; where noise-aware training is asked for, with its network and a control.

    The control is trained on in the same way with a perfect crossbar: what it gains is owed to more epochs.
    """
    calibration = data.train_x[: crossbar.calibration_images].astype(np.int64)
    networks = {"plain": learned.layers}
    trained: dict[str, Any] = {}
    if crossbar.noise_aware is not None:
        ideal = chips.perfect(crossbar.machine)
        found_by: dict[str, Any] = {}
        for name, machine in (("control", ideal), ("noise_aware", crossbar.machine)):
            step(f"crossbar: training on, {name}")
            network, losses = noise_aware_trainer().train_on(
                learned.trained,
                config.estimator.estimator,
                data,
                machine,
                **asdict(crossbar.noise_aware),
                smoothing=config.training.smoothing,
                progress=progress,
            )
            networks[name] = export(network, data)
            program = hls.compile_network(networks[name], ideal, batch=len(learned.images))
            accuracy = chips.accuracy(Chip(program).run(learned.images), data.test_y)
            found_by[name] = {"accuracy": accuracy, "history": losses}
        settings = asdict(crossbar.noise_aware)
        trained = {"noise_aware": {**settings, **found_by["noise_aware"], "control": found_by["control"]}}
    found = chips.evaluate(crossbar, networks, learned.images, data.test_y, calibration, step=step)
    pulses = found.pop("program_pulses")
    return found | trained | {"figures": crossbar_costs.figures(crossbar, found, pulses)}


def assumptions(crossbar: CrossbarConfig) -> list[dict[str, str]]:
    """Return what the figures of the crossbar rest on; those of `crossbar_costs` have their own."""
    machine = crossbar.machine
    found = [
        {
            "id": "crossbar-cells",
            "text": f"'{machine.cell.name}', {machine.window[0] * 1e6:g} to {machine.window[1] * 1e6:g} uS at "
            f"{machine.temperature_k:g} K",
            "source": machine.cell.source,
        },
        {
            "id": "crossbar-wires",
            "text": f"Segments of {machine.r_row_ohm:g} ohm along rows and {machine.r_col_ohm:g} ohm along columns, "
            f"drivers of {machine.r_driver_ohm:g} ohm, sense amplifiers of {machine.r_sense_ohm:g} ohm; solved exactly",
            "source": "our assumption; see the presets of tetrit.hardware",
        },
        {
            "id": "crossbar-calibration",
            "text": "The converters' ranges are set once per chip, right after programming, layer after layer, from "
            f"{crossbar.calibration_images:,} training images, and kept over time"
            if machine.adc.range.startswith("calibrated") and machine.adc_bits is not None
            else "The converters' ranges are not calibrated",
            "source": "our assumption",
        },
        {
            "id": "crossbar-digital",
            "text": "Bias, requantisation and ReLU are digital, exact, and follow the conversion. Not counted: their "
            "energy and time, memories for activations, and the product that drift compensation takes; the energy of "
            "programming is given apart. Layers run one after the other",
            "source": "our assumption",
        },
        {
            "id": "crossbar-prices",
            "text": "Cells take V^2 g t of the run itself, other events cost what a table says, for another technology "
            "node than the digital array's: the two machines' energies are no comparison at one node",
            "source": crossbar.prices.source,
        },
    ]
    if crossbar.faults is not None:
        maps = ", ".join(f"'{name}'" for name in crossbar.faults.maps)
        found.append(
            {
                "id": "crossbar-faults",
                "text": f"Stuck cells of layers {maps} are given, the same on all chips; no training knows them",
                "source": f"'{crossbar.faults.path.name}', SHA-256 {crossbar.faults.sha256}",
            }
        )
    if crossbar.noise_aware is not None:
        found.append(
            {
                "id": "noise-aware",
                "text": f"{crossbar.noise_aware.epochs} more epochs with the crossbar in the forward pass and the "
                "clean network's gradient; the fresh chip of the configuration, read noise and converters included. "
                "The network that is trained on without noise is trained in the same way on a perfect crossbar",
                "source": "after Feng et al., arXiv 2508.11940; the formula is our reconstruction",
            }
        )
    return found


def sources(crossbar: CrossbarConfig) -> list[str]:
    """Return the sources of the models that a run on the crossbar adds."""
    found = [
        f"Cell '{crossbar.machine.cell.name}': {crossbar.machine.cell.source}",
        "Le Gallo et al. 2018, as in V. Joshi et al., Nature Communications 11, 2473 (2020): global drift compensation",
    ]
    if crossbar.noise_aware is not None:
        found.append("Feng et al., arXiv 2508.11940: the extended straight-through estimator")
    return found
