"""What the model of memories is held against: the authority for how far off it is."""

__all__ = ["Anchor", "anchors"]

from dataclasses import dataclass
from typing import Any

from tetrit.sim.cost.figure import Figure
from tetrit.sim.cost.memory import constants, sram

_QUANTITIES = {
    "read_pj": "read",
    "write_pj": "write",
    "access_ns": "access",
    "area_um2": "area",
    "leakage_nw": "leakage",
}


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """A figure that the model is held against.

    Attributes
    ----------
    source : str
    fitted : bool
        Whether the constants were fitted to it.
    node_nm, voltage_v : float
    size_bytes, word_bits, ports : int
    quantity : {"read_pj", "write_pj", "access_ns", "area_um2", "leakage_nw"}
    value : float
        What the source says.
    modelled : Figure
        What the model says.
    """

    source: str
    fitted: bool
    node_nm: float
    voltage_v: float
    size_bytes: int
    word_bits: int
    ports: int
    quantity: str
    value: float
    modelled: Figure

    @property
    def error(self) -> float:
        """Relative error of the model."""
        return self.modelled.value / self.value - 1.0


def anchors() -> tuple[Anchor, ...]:
    """Return every figure that the model is fitted to or held against, with what the model says.

    Examples
    --------
    >>> from tetrit.sim.cost.anchors import anchors
    >>> all(abs(anchor.error) < 0.03 for anchor in anchors() if anchor.fitted)
    True
    """
    found = []
    for macro in constants()["macros"]:
        size = macro["words"] * macro["bits"] // 8
        found += _held(
            macro["name"], True, constants()["node_nm"], constants()["voltage_v"], size, macro["bits"], 1, macro
        )
    for series in constants()["anchors"]:
        for place, size in enumerate(series["size_bytes"]):
            values = {name: value[place] for name, value in series.items() if name in _QUANTITIES}
            where = series["node_nm"], series["voltage_v"], size, series["word_bits"], series["ports"]
            found += _held(series["source"], False, *where, values)
    return tuple(found)


def _held(
    source: str, fitted: bool, node: float, volt: float, size: int, bits: int, ports: int, values: dict[str, Any]
) -> list[Anchor]:
    modelled = sram(size, bits, ports=ports, node_nm=node, voltage_v=None if node == constants()["node_nm"] else volt)
    return [
        Anchor(
            source=source,
            fitted=fitted,
            node_nm=node,
            voltage_v=volt,
            size_bytes=size,
            word_bits=bits,
            ports=ports,
            quantity=quantity,
            value=values[quantity],
            modelled=getattr(modelled, field),
        )
        for quantity, field in _QUANTITIES.items()
        if quantity in values
    ]
