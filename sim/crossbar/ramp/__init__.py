"""The nonlinear ramp converter on a chip: codes of a function of a column's current, errors of its cells included."""

__all__ = ["RampConverter", "Ramps", "check_fits"]

from tetrit.sim.crossbar.ramp.columns import Ramps
from tetrit.sim.crossbar.ramp.converter import RampConverter, check_fits
