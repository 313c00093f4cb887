"""What a run costs: events priced, every price with its source."""

__all__ = [
    "AdcSurvey",
    "AnalogPrices",
    "Coefficients",
    "Figure",
    "NodeTable",
    "OffChip",
    "Peripherals",
    "Prices",
    "SimdPrices",
    "crossbar_area",
    "efficiency",
    "priced",
    "program_energy",
    "scale",
    "sram",
]

from tetrit.sim.cost.adc import AdcSurvey
from tetrit.sim.cost.analog import AnalogPrices
from tetrit.sim.cost.coefficients import Coefficients
from tetrit.sim.cost.crossbar_area import crossbar_area
from tetrit.sim.cost.efficiency import efficiency
from tetrit.sim.cost.figure import Figure
from tetrit.sim.cost.memory import priced, sram
from tetrit.sim.cost.offchip import OffChip
from tetrit.sim.cost.peripherals import Peripherals
from tetrit.sim.cost.prices import Prices
from tetrit.sim.cost.programming import program_energy
from tetrit.sim.cost.scaling import NodeTable, scale
from tetrit.sim.cost.simd import SimdPrices
