"""Mapping: how long whole networks take on every machine, how many layers are proven, and how good they are.

Writes ``build/bench/mapping.json``. Times are of searches without any result kept from before; reading a network's
definition and numba's compilation are not in them. Peers cannot be installed beside it: their times are those that
REFERENCES section 12 has, measured on two cores of another run.
"""

import argparse
import statistics
import time

from _common import write

from tetrit import hardware, hls
from tetrit.hls import networks
from tetrit.hls.mapping import crossbar, scale_sim, shift, simd
from tetrit.sim.shift import best_mapping, cycles

FOUR = ("resnet50", "mobilenet_v2", "vit_s", "transformer_7b_prefill", "transformer_7b_decode")
LIMIT_S = 5.0
PEERS = {
    "SCALE-Sim 3.0, ResNet-18, 32 x 32, weight stationary": {"seconds": 327, "cycles": 2_834_979},
    "SCALE-Sim 3.0, ResNet-18, 32 x 32, output stationary": {"seconds": 273, "cycles": 2_011_122},
    "ZigZag 3.9.1, ResNet-18": {"seconds": 59, "cycles": 4_104_846},
}


def forget() -> None:
    for solve in (shift.solve, simd.solve, crossbar.solve):
        solve.cache_clear()


def timed(graphs, machine, cost, repeats, **settings):
    """Median seconds of mapping all graphs, and the mappings."""
    seconds = []
    for _ in range(repeats):
        forget()
        start = time.perf_counter()
        found = [hls.map_network(graph, machine, cost, **settings) for graph in graphs]
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    graphs = [networks.get(name) for name in FOUR]
    products = [graph.workloads() for graph in graphs]
    for preset in hardware.presets():  # numba compiles
        hls.map_network(products[1], hardware.load(preset))
    rows = []
    print(f"{', '.join(FOUR)}; seconds for all five graphs, layers proven")
    for preset in hardware.presets():
        for cost in ("latency", "energy", "edp"):
            seconds, found = timed(products, hardware.load(preset), cost, repeats)
            proven = sum(layer.optimal for mapping in found for layer in mapping.layers)
            shapes = {(layer.workload, layer.count): layer.optimal for mapping in found for layer in mapping.layers}
            rows.append(
                {
                    "machine": preset,
                    "cost": cost,
                    "seconds": seconds,
                    "layers": sum(len(mapping.layers) for mapping in found),
                    "proven": proven,
                    "shapes": len(shapes),
                    "shapes_proven": sum(shapes.values()),
                    "cycles": {name: mapping.cycles for name, mapping in zip(FOUR, found, strict=True)},
                    "utilization": {name: mapping.utilization for name, mapping in zip(FOUR, found, strict=True)},
                }
            )
            print(
                f"  {preset:18} {cost:8} {seconds:6.3f} s  {proven} of {rows[-1]['layers']} layers, "
                f"{rows[-1]['shapes_proven']} of {len(shapes)} shapes"
            )
    latency = sum(row["seconds"] for row in rows if row["cost"] == "latency")
    total = sum(row["seconds"] for row in rows)
    held = latency < LIMIT_S
    print(f"all machines: {latency:.2f} s at least latency (below {LIMIT_S:.0f}: {held}), {total:.2f} s for all costs")

    resnet18 = networks.get("resnet18").workloads()
    beside = []
    for dataflow in scale_sim.DATAFLOWS:
        machine = hardware.ShiftArray(rows=32, cols=32, dataflow=dataflow)
        seconds, (found,) = timed([resnet18], machine, "latency", repeats, off_chip=None)
        forms = sum(scale_sim.cycles(layer, rows=32, cols=32, dataflow=dataflow) for _, layer, _ in resnet18)
        chosen = sum(cycles.count(layer, best_mapping(layer, machine), machine) for _, layer, _ in resnet18)
        array = sum(layer.array_cycles for layer in found.layers)
        beside.append(
            {
                "dataflow": dataflow,
                "seconds": seconds,
                "cycles": array,
                "scale_sim_closed_form": forms,
                "simulator_own_mapping": chosen,
            }
        )
        print(
            f"ResNet-18 on 32 x 32, {dataflow}, no off-chip memory: {1e3 * seconds:.1f} ms, {array:,} cycles "
            f"(SCALE-Sim's closed form {forms:,}; mapping that the simulator takes by itself {chosen:,})"
        )
    for name, peer in PEERS.items():
        print(f"  measured elsewhere: {name}: {peer['seconds']} s, {peer['cycles']:,} cycles")
    figures = {"rows": rows, "seconds_latency": latency, "seconds": total, "held": held}
    write("mapping", figures | {"resnet18": beside, "peers": PEERS})


if __name__ == "__main__":
    main()
