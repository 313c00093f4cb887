"""The authority for what `tetrit compile` makes of a network: the content of `compile.json`, its tables, its files."""

__all__ = [
    "ASSUMPTIONS",
    "SCHEMA",
    "Network",
    "compile_layer",
    "compile_network",
    "read_network",
    "rows",
    "to_csv",
    "write_cpp",
]

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tetrit
from tetrit import hardware
from tetrit.errors import InvalidValueError, unknown_name
from tetrit.hls import Graph, IntegerGraph, from_onnx, load, map_network, networks
from tetrit.hls.integer import Product
from tetrit.hls.mapping import LayerMapping, NetworkMapping
from tetrit.hls.memory import MemoryPlan, Op, TensorGraph, fused, plan_memory
from tetrit.sim import Workload

SCHEMA = "tetrit-compile/1"

ASSUMPTIONS = (
    "operands come from off-chip memory and results go back to it, once a layer, beside the array's work (roofline)",
    "half of a scratchpad holds the operand in use while the other half is filled; what fits is fetched once",
    "lowered convolutions are fetched as matrices; biases and requantisation parameters are not counted",
    "second operands of attention are quantised to the weight format on the fly, at no cost",
    "between layers nothing is counted: pooling, sums and normalisation take no cycles here",
    "the memory plan has activations only: weights stream, element-wise operators run with their neighbours; its "
    "traffic is not part of the layers' figures",
)
_ON_CROSSBARS = "weights of all layers lie on crossbars, products of activations (attention) too; programming is free"
_EXACT_OPS = 40
_GREEDY_OPS = 300
_COLUMNS = (
    *("name", "m", "k", "n", "count", "packed", "cycles", "array_cycles", "off_chip_cycles", "utilization", "bound"),
    *("intensity_macs_per_byte", "macs", "macs_per_cycle", "peak_macs_per_cycle", "energy_pj", "off_chip_bytes"),
    "optimal",
)


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network as it was read.

    Attributes
    ----------
    name, source : str
        What it is called, and where it is from.
    graph : Graph or IntegerGraph
    """

    name: str
    source: str
    graph: Graph | IntegerGraph

    @property
    def workloads(self) -> list[tuple[str, Workload, int]]:
        """The matrix products."""
        if isinstance(self.graph, Graph):
            return self.graph.workloads()
        products = []
        for node in self.graph.nodes:
            if isinstance(node, Product):
                m = 1 if node.window is None else math.prod(node.window.out_shape_hw)
                products.append((node.name, Workload(m=m, k=node.k, n=node.n // node.groups), node.groups))
        return products

    def tensor_graph(self, act_bits: int) -> TensorGraph:
        """Return operators and activations, each of as many bytes as it has, or `act_bits` take."""
        if isinstance(self.graph, Graph):
            return fused(self.graph, -(-act_bits // 8))
        ops = [Op(node.name, tuple(dict.fromkeys(node.sources)), (node.output,)) for node in self.graph.nodes]
        sizes = {
            name: math.prod(tensor.shape) * -(-int(tensor.high - tensor.low).bit_length() // 8)
            for name, tensor in self.graph.tensors.items()
        }
        return TensorGraph(ops, sizes, outputs=self.graph.outputs)


def read_network(source: str, shapes: Mapping[str, Sequence[int]] | None = None) -> Network:
    """Read a network.

    Parameters
    ----------
    source : str
        The path of an ONNX file (``.onnx``) or of a checkpoint (``.safetensors``, a chain of linear layers), or a name
        of `tetrit.hls.networks`.
    shapes : mapping of str to sequence of int, optional
        Of inputs of an ONNX file with dynamic dimensions.

    Raises
    ------
    InvalidValueError
        No such file or name, a file that is damaged or not supported.
    """
    path = Path(source)
    if path.suffix == ".onnx":
        if not path.is_file():
            raise InvalidValueError(f"cannot read network '{source}': no such file")
        return Network(name=path.stem, source=source, graph=from_onnx(path, shapes=shapes or None))
    if shapes:
        raise InvalidValueError(f"shapes of inputs belong to an ONNX file, got them for '{source}'")
    if path.suffix == ".safetensors" or path.is_file():
        return Network(name=path.stem, source=source, graph=load(path))
    if source not in networks.names():
        raise unknown_name("network", source, networks.names())
    return Network(name=source, source="tetrit.hls.networks", graph=networks.get(source))


def compile_network(
    network: Network,
    machine: hardware.Machine,
    cost: str = "latency",
    *,
    memory_budget: int | None = None,
    off_chip: hardware.Memory | None = None,
    formats: tuple[str, str] = ("posit8_0", "posit8_0"),
    nonzero: float = 1.0,
    arrays: int | None = None,
) -> dict[str, Any]:
    """Map a network onto a machine and plan its memory.

    Parameters
    ----------
    network : Network
    machine : ShiftArray, SimdEngine or Crossbar
    cost, off_chip, formats, nonzero, arrays
        See `tetrit.hls.map_network`.
    memory_budget : int, optional
        Bytes of a scratchpad for activations between layers. By default the least that needs no traffic is looked for.

    Returns
    -------
    dict
        The content of ``compile.json``.

    Raises
    ------
    InvalidValueError
        What `tetrit.hls.map_network` and `tetrit.hls.plan_memory` refuse.
    """
    found = map_network(
        network.workloads,
        machine,
        cost,
        off_chip=off_chip,
        formats=formats,
        nonzero=nonzero,
        arrays=arrays,
    )
    bits = hardware_bits(machine, formats[0])
    lines = [*ASSUMPTIONS]
    if isinstance(machine, hardware.Crossbar):
        lines[3] = _ON_CROSSBARS
    return {
        "schema": SCHEMA,
        "tetrit": tetrit.__version__,
        "network": {
            "name": network.name,
            "source": network.source,
            "layers": len(found.layers),
            "macs": found.macs,
        },
        "machine": hardware.to_dict(machine),
        "clock_mhz": machine.clock_mhz,
        "cost": cost,
        "off_chip": None if off_chip is None else asdict(off_chip),
        "formats": list(formats) if isinstance(machine, hardware.SimdEngine) else None,
        "totals": _totals(found),
        "layers": [compile_layer(layer) for layer in found.layers],
        "memory_plan": _planned(network.tensor_graph(bits), memory_budget),
        "assumptions": lines,
    }


def hardware_bits(machine: hardware.Machine, act_format: str) -> int:
    """Return the bits of an activation on a machine."""
    from tetrit import formats

    return formats.get(act_format).bits if isinstance(machine, hardware.SimdEngine) else machine.activations.bits


def write_cpp(network: Network, folder: Path) -> Path:
    """Write an integer network as C++ for high-level synthesis; return the folder.

    Raises
    ------
    InvalidValueError
        The network is in float and does not state its own scales, or `to_hls_cpp` refuses it.
    """
    from tetrit.hls import quantize

    graph = network.graph
    if isinstance(graph, Graph):
        try:
            graph = quantize(graph)
        except InvalidValueError as error:
            raise InvalidValueError(
                f"C++ needs an integer network, a checkpoint or quantised ONNX; '{network.name}' is none: {error}"
            ) from None
    return graph.to_hls_cpp(folder).folder


def _totals(found: NetworkMapping) -> dict[str, Any]:
    return {
        "cycles": found.cycles,
        "latency_us": found.latency_us,
        "utilization": found.utilization,
        "energy_pj": found.energy_pj,
        "breakdown": found.breakdown,
        "traffic": {name: asdict(moved) for name, moved in found.traffic.items()},
        "bandwidth_bytes_per_cycle": _finite(found.bandwidth_bytes_per_cycle),
        "proven_layers": sum(layer.optimal for layer in found.layers),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def compile_layer(layer: LayerMapping) -> dict[str, Any]:
    """Return what `compile.json` says of a layer."""
    solution = layer.solution
    return {
        "name": layer.name,
        "m": layer.workload.m,
        "k": layer.workload.k,
        "n": layer.workload.n,
        "count": layer.count,
        "packed": layer.packed,
        "mapping": {"kind": type(layer.mapping).__name__, **vars(layer.mapping)},
        "cycles": layer.cycles,
        "array_cycles": layer.array_cycles,
        "off_chip_cycles": layer.off_chip_cycles,
        "utilization": layer.utilization,
        "bound": layer.bound,
        "intensity_macs_per_byte": _finite(layer.intensity),
        "macs": layer.macs,
        "macs_per_cycle": layer.macs_per_cycle,
        "peak_macs_per_cycle": solution.peak_macs,
        "energy_pj": layer.energy_pj,
        "breakdown": layer.breakdown,
        "traffic": {name: asdict(moved) for name, moved in layer.traffic.items()},
        "off_chip_bytes": layer.off_chip_bytes,
        "optimal": layer.optimal,
        "bound_of_cost": solution.bound,
    }


def _planned(graph: TensorGraph, budget: int | None) -> dict[str, Any]:
    """Return the memory plan, by the method that suits the graph's size."""
    n_ops = len(graph.ops)
    method = "optimal" if n_ops <= _EXACT_OPS else "divide" if n_ops <= _GREEDY_OPS else "greedy"
    plan: MemoryPlan = plan_memory(graph, budget, "greedy" if budget is None else method, seconds=20.0)
    return {
        "budget_bytes": budget,
        "method": "greedy" if budget is None else method,
        "operators": n_ops,
        "smallest_budget_bytes": graph.smallest_budget,
        "peak_bytes": plan.peak_bytes,
        "traffic_bytes": plan.traffic_bytes,
        "spills": len(plan.spills),
        "fetches": len(plan.fetches),
        "optimal": plan.optimal,
        "order": list(plan.order),
        "addresses": dict(plan.addresses),
    }


def rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the layers with equal ones drawn together: the first one's entry, and ``times``."""
    merged: dict[tuple[int, ...], dict[str, Any]] = {}
    for layer in result["layers"]:
        key = tuple(layer[field] for field in ("m", "k", "n", "count"))
        merged.setdefault(key, {**layer, "times": 0})["times"] += 1
    return list(merged.values())


def to_csv(result: Mapping[str, Any]) -> str:
    """Return all layers as CSV, one a line."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(result["layers"])
    return buffer.getvalue()
