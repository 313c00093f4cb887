"""SRAM and what it costs: the authority for area, energy, time and leakage of a scratchpad by size, word, ports, node.

A memory is built from macros, side by side for wide words and above each other (banks) for many. A macro of `rows` and
`columns` (two words a row, so two columns a bit) takes for an access

    energy = control + bits x periphery + columns x sqrt(rows) x bit line

- *control*: clock, address registers, decoder, timing;
- *periphery*: column multiplexer, sense amplifier or write driver, output latch and word line of a bit;
- *bit line*: every column of the row is discharged for as long as the word line is up. That pulse grows slower than the
  line's capacitance, so that the swing falls as the line gets longer; the root is what IHP's macros have.

Likewise ``time = control + sqrt(rows) x bit line + columns x word line``, and area is a width (straight in bits) times
a height (straight in words). A second port is a factor on each. The constants are fits through IHP's macros at 130 nm
(``memory.toml``). Other nodes: `tetrit.sim.cost.scaling` of a macro. Banks are joined by wires with repeaters along one
side of the memory, which do not scale like gates: data to and from the bank in use, addresses to all of them on a tree,
sqrt(banks) times as long.
`tetrit.sim.cost.anchors` has how far off that is from published figures; the bounds contain them all.
"""

__all__ = [
    "MEMORY_NAMES",
    "Sram",
    "constants",
    "memories",
    "price_origins",
    "priced",
    "sram",
    "sram_um2",
    "unpriced",
]

import math
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hardware import Crossbar, Memory, ShiftArray, SimdEngine
from tetrit.sim.cost import wires
from tetrit.sim.cost.figure import Figure, Origin
from tetrit.sim.cost.scaling import NodeTable, scale

MEMORY_NAMES = {
    "weight_memory": "weight memory",
    "act_memory": "activation memory",
    "acc_memory": "accumulator memory",
    "result_memory": "result memory",
}
"""What the components of energy and area are called, by the machine's field."""

NOT_PRICED = Memory().energy_source
"""What a memory says whose prices nobody gave."""

AREA_SOURCE = (
    "IHP-Open-PDK, sg13g2_sram: sizes of the macros RM_IHPSG13_1P_64x64 to 2048x64 as their data sheets state, a "
    "straight line in words and one in bits (within 2 %); a second port 1.96 times, as RM_IHPSG13_2P_64x32"
)
_LARGEST_BYTES = 1 << 27
_WIDEST_BITS = 1 << 14
_CONTROL_WIRES = 2


@dataclass(frozen=True, kw_only=True)
class Sram:
    """What a memory costs.

    Attributes
    ----------
    banks : int
        Macros above each other, of which an access wakes one.
    macros : int
        All of them.
    area : Figure
        In um2.
    read, write : Figure
        Energy of an access to a word, in pJ.
    access : Figure
        From the clock to the data, in ns.
    leakage : Figure or None
        In nW; None at nodes other than the macros', since no factor is known.
    cells_share : float
        Of the area: cells, the rest is periphery.
    read_shares : dict
        Of the energy of a read: ``control``, ``periphery``, ``bit lines`` and ``wires``.
    """

    banks: int
    macros: int
    area: Figure
    read: Figure
    write: Figure
    access: Figure
    leakage: Figure | None
    cells_share: float
    read_shares: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class _Cut:
    """How a memory is cut into equal macros."""

    word_bits: int
    words: int
    ports: int
    across: int
    banks: int

    @property
    def bits(self) -> float:
        """Of a macro's word."""
        return self.word_bits / self.across

    @property
    def rows(self) -> float:
        """Of a macro."""
        return max(1.0, self.words / self.banks / float(constants()["macro"]["words_per_row"]))

    @property
    def columns(self) -> float:
        """Of a macro."""
        return float(self.bits * constants()["macro"]["words_per_row"])

    @property
    def um2(self) -> float:
        """Of all macros at their own node."""
        area = constants()["area"]
        width = area["width_um"][0] + area["width_um"][1] * self.word_bits / self.across
        height = area["height_um"][0] + area["height_um"][1] * self.words / self.banks
        return float(self.across * self.banks * width * height * self._port("area"))

    def energy_pj(self, kind: str) -> float:
        return sum(self.parts_pj(kind).values())

    def parts_pj(self, kind: str) -> dict[str, float]:
        """Return the energy of an access to all macros of a bank, by part."""
        constant, bit, line = constants()["energy_pj"][kind]
        parts = {"control": constant, "periphery": bit * self.bits}
        parts["bit lines"] = line * self.columns * math.sqrt(self.rows)
        return {name: float(self.across * self._port("energy") * pj) for name, pj in parts.items()}

    @property
    def cells_um2(self) -> float:
        """Of all cells at the macros' node: what a bit and a word add to a macro."""
        area = constants()["area"]
        cell = area["width_um"][1] * area["height_um"][1]
        return float(cell * self.words * self.word_bits * self._port("area"))

    @property
    def access_ns(self) -> float:
        constant, line, column = constants()["access_ns"]["read"]
        return float(constant + line * math.sqrt(self.rows) + column * self.columns) * self._port("access")

    def _port(self, what: str) -> float:
        return float(constants()["second_port"][what]) if self.ports == 2 else 1.0


def sram_um2(memory: Memory, word_bits: int, *, ports: int = 1) -> float:
    """Return the area of a memory of words of `word_bits` at the macros' node, 130 nm."""
    return _cut(memory.size_bytes, word_bits, ports).um2


def sram(
    size_bytes: int,
    word_bits: int,
    *,
    ports: int = 1,
    node_nm: float | None = None,
    voltage_v: float | None = None,
    table: NodeTable | None = None,
    process: str = "hp",
) -> Sram:
    """Return what a memory costs.

    Parameters
    ----------
    size_bytes : int
        Up to 128 MiB.
    word_bits : int
        Bits of an access.
    ports : int
        1, or 2 that work at once.
    node_nm : float, optional
        By default that of the macros.
    voltage_v : float, optional
        Supply at another node, by default its nominal one; the macros' node has the macros' supply.
    table : NodeTable, optional
        Of nodes, by default the committed one.
    process : {"hp", "lp"}
        See `NodeTable.factor`.

    Raises
    ------
    InvalidValueError
        A size, width or number of ports out of range, another supply at the macros' own node, or what
        `tetrit.sim.cost.scaling.scale` refuses.

    Examples
    --------
    >>> from tetrit.sim.cost.memory import sram
    >>> scratchpad = sram(32768, 64)
    >>> scratchpad.banks, round(scratchpad.read.value), scratchpad.read.unit
    (2, 147, 'pJ')
    >>> sram(32768, 64, node_nm=28).read.value < 20
    True
    """
    size_bytes = checks.integer("size_bytes", size_bytes, maximum=_LARGEST_BYTES)
    word_bits = checks.integer("word_bits", word_bits, maximum=_WIDEST_BITS)
    ports = checks.integer("ports", ports, maximum=2)
    own = constants()
    at = _At(
        node_nm=float(own["node_nm"]) if node_nm is None else checks.real("node_nm", node_nm),
        voltage_v=voltage_v,
        table=NodeTable.modelled() if table is None else table,
        process=process,
    )
    at.check()
    cut = _cut(size_bytes, word_bits, ports)
    area = at.figure("area", cut.um2, "um2", AREA_SOURCE)
    side_mm = math.sqrt(area.value) * 1e-3 if cut.banks > 1 else 0.0
    wired = word_bits + (math.ceil(math.log2(cut.words)) + _CONTROL_WIRES) * math.sqrt(cut.banks)
    wires_pj = own["wires"]["activity"] * wired * side_mm * wires.repeated_energy_pj_per_mm(at.supply_v)
    wires_ns = side_mm * wires.repeated_delay_ps_per_mm(at.node_nm, own["wires"]["fo4_ps"] * at.delay) * 1e-3
    leakage = own["leakage_nw_per_bit"]["one_port" if ports == 1 else "two_ports"] * 8 * size_bytes
    joined = f", {cut.banks} banks joined by wires" if cut.banks > 1 else ""
    source = f"fit through the macros of {own['source']}{joined} (tetrit.sim.cost.memory)"
    read = at.figure("energy", cut.energy_pj("read"), "pJ", source, wires_pj)
    macros = (read.value - wires_pj) / read.value / cut.energy_pj("read")
    return Sram(
        banks=cut.banks,
        macros=cut.across * cut.banks,
        area=area,
        read=read,
        write=at.figure("energy", cut.energy_pj("write"), "pJ", source, wires_pj),
        access=at.figure("access", cut.access_ns, "ns", source, wires_ns),
        leakage=Figure(value=leakage, unit="nW", origin="published", source=own["source"]) if at.own else None,
        cells_share=cut.cells_um2 / cut.um2,
        read_shares={name: pj * macros for name, pj in cut.parts_pj("read").items()} | {"wires": wires_pj / read.value},
    )


@dataclass(frozen=True, kw_only=True)
class _At:
    """A node with its supply, and how figures of the macros get there."""

    node_nm: float
    voltage_v: float | None
    table: NodeTable
    process: str

    @property
    def own(self) -> bool:
        return bool(self.node_nm == constants()["node_nm"])

    @property
    def supply_v(self) -> float:
        if self.own:
            return float(constants()["voltage_v"])
        return self.table.supply_v(self.node_nm, self.voltage_v, self.process)

    @property
    def delay(self) -> float:
        return 1.0 if self.own else self._scaled(Figure(value=1.0, unit="ns", origin="modelled", source="-")).value

    def check(self) -> None:
        own = float(constants()["voltage_v"])
        if self.own and self.voltage_v is not None and checks.real("voltage_v", self.voltage_v) != own:
            raise InvalidValueError(
                f"`voltage_v` must be {own:g} V at {self.node_nm:g} nm, where the macros are, got {self.voltage_v:g}"
            )
        if not self.own:
            self.table.supply_v(self.node_nm, self.voltage_v, self.process)

    def figure(self, spread: str, macros: float, unit: str, source: str, wires_take: float = 0.0) -> Figure:
        """Return a figure of macros, scaled to the node, with what the wires there take added, and bounds around it."""
        low, high = _spread(spread, self.node_nm)
        origin: Origin = "published" if spread == "area" and self.own else "modelled"
        found = Figure(value=macros, unit=unit, origin=origin, source=source, low=macros, high=macros)
        if not self.own:
            found = self._scaled(found)
        assert found.low is not None and found.high is not None
        return Figure(
            value=found.value + wires_take,
            unit=unit,
            origin=found.origin,
            source=found.source,
            low=(found.low + wires_take) * low,
            high=(found.high + wires_take) * high,
        )

    def _scaled(self, figure: Figure) -> Figure:
        return scale(
            figure,
            constants()["node_nm"],
            self.node_nm,
            table=self.table,
            from_voltage_v=constants()["voltage_v"],
            to_voltage_v=self.voltage_v,
            process=self.process,
        )


_PORTS = {"acc_memory": 2}
_WORDS = {
    "weight_memory": "weight_word_bits",
    "act_memory": "act_word_bits",
    "acc_memory": "acc_word_bits",
    "result_memory": "result_word_bits",
}


def memories(machine: ShiftArray | SimdEngine | Crossbar) -> dict[str, tuple[Memory, int, int]]:
    """Return the scratchpads of a machine by field: the memory, bits of its words, and ports."""
    names = [f.name for f in fields(machine) if f.name in _WORDS]
    return {name: (getattr(machine, name), getattr(machine, _WORDS[name]), _PORTS.get(name, 1)) for name in names}


def priced(
    machine: ShiftArray | SimdEngine | Crossbar,
    *,
    node_nm: float | None = None,
    voltage_v: float | None = None,
    table: NodeTable | None = None,
    process: str = "hp",
) -> Any:
    """Return a machine whose memories all have prices: those that say "not priced" get the model's.

    Energy per bit and its source are filled in, and the latency where it is 0: the cycles that an access takes at the
    machine's clock. Memories with prices of their own stay as they are.

    Parameters
    ----------
    machine : ShiftArray, SimdEngine or Crossbar
        A crossbar has no memories, and is returned as it is.
    node_nm, voltage_v, table, process
        See `sram`.

    Examples
    --------
    >>> from tetrit.hardware import ShiftArray
    >>> from tetrit.sim.cost.memory import priced
    >>> machine = priced(ShiftArray(rows=8, cols=8))
    >>> machine.weight_memory.latency_cycles, machine.weight_memory.read_pj_per_bit > 0
    (1, True)
    """
    if not isinstance(machine, ShiftArray | SimdEngine | Crossbar):
        raise TypeError(f"`machine` must be a ShiftArray, a SimdEngine or a Crossbar, got {machine!r}")
    changes = {}
    for name, (memory, word_bits, ports) in memories(machine).items():
        if memory.energy_source != NOT_PRICED or memory.read_pj_per_bit or memory.write_pj_per_bit:
            continue
        found = sram(
            memory.size_bytes,
            word_bits,
            ports=ports,
            node_nm=node_nm,
            voltage_v=voltage_v,
            table=table,
            process=process,
        )
        changes[name] = memory.replace(
            read_pj_per_bit=found.read.value / word_bits,
            write_pj_per_bit=found.write.value / word_bits,
            latency_cycles=memory.latency_cycles or math.ceil(found.access.value * machine.clock_mhz * 1e-3),
            energy_source=found.read.source,
        )
    return machine.replace(**changes) if changes else machine


def unpriced(machine: ShiftArray | SimdEngine | Crossbar) -> Any:
    """Return a machine whose memories all say "not priced", for `priced` to fill in; latencies stay."""
    none = {"energy_source": NOT_PRICED, "read_pj_per_bit": 0.0, "write_pj_per_bit": 0.0}
    return machine.replace(**{name: entry[0].replace(**none) for name, entry in memories(machine).items()})


def price_origins(machine: ShiftArray | SimdEngine | Crossbar) -> dict[str, Origin]:
    """Return where the energy of a word is from, by `MEMORY_NAMES`: the model of SRAM, or what the machine's file says.

    The latter is its author's, whatever its source.
    """
    found: dict[str, Origin] = {}
    for name, (memory, word_bits, ports) in memories(machine).items():
        model = sram(memory.size_bytes, word_bits, ports=ports).read.source
        found[MEMORY_NAMES[name]] = "modelled" if memory.energy_source == model else "assumed"
    return found


def _cut(size_bytes: int, word_bits: int, ports: int) -> _Cut:
    largest = constants()["macro"]
    words = math.ceil(8 * size_bytes / word_bits)
    return _Cut(
        word_bits=word_bits,
        words=words,
        ports=ports,
        across=math.ceil(word_bits / largest["bits"]),
        banks=math.ceil(words / largest["words"]),
    )


def _spread(quantity: str, node_nm: float) -> tuple[float, float]:
    """Return the factors of the bounds at a node, interpolated; beyond the ends those of the ends."""
    rows = constants()["spread"]
    node_nm = min(max(node_nm, rows[-1]["node_nm"]), rows[0]["node_nm"])
    above, below = next((one, other) for one, other in pairwise(rows) if node_nm >= other["node_nm"])
    share = math.log(above["node_nm"] / node_nm) / math.log(above["node_nm"] / below["node_nm"])
    low, high = (
        math.exp((1 - share) * math.log(above[quantity][side]) + share * math.log(below[quantity][side]))
        for side in (0, 1)
    )
    return low, high


@cache
def constants() -> dict[str, Any]:
    """Return ``memory.toml``: constants, and what the model is held against."""
    text = (resources.files("tetrit.sim.cost") / "memory.toml").read_text(encoding="utf-8")
    return checks.parse_toml("memory.toml", text)
