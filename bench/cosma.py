"""Memory schedules of published networks beside what run-time systems do: bytes moved that need not be.

Run it as ``python bench/cosma.py`` (minutes). For each network, with element-wise operators fused and one byte per
value, it finds the least budget M_R, the least peak M_P and their mean M_H, plans within each, replays every plan, and
compares with four baselines: {default order, order of least peak} x {Belady, fewest bytes} on a linear allocator.
Writes docs/memory_table.md and build/bench/cosma.json.
"""

import argparse
import time
from pathlib import Path

from _common import machine, write

from tetrit.files import write_atomic
from tetrit.hls import networks
from tetrit.hls.memory import by_replacement, check_plan, fused, minimum_peak, plan_memory, replacement_traffic

REGULAR = (
    "alexnet",
    "bert_base",
    "dcgan_generator",
    "densenet121",
    "efficientnet_b0",
    "fcn8s",
    "googlenet",
    "mobilenet_v2",
    "resnet18",
    "resnet50",
    "squeezenet1_1",
    "unet",
    "vgg16",
)
SEARCHED = ("darts_imagenet", "nasnet_a_large", "nasnet_a_mobile", "randwire_small")
DEFAULT = "default, Belady"


def measure(name: str, method: str, seconds: float) -> dict:
    graph = fused(networks.get(name))
    start = time.perf_counter()
    peak = minimum_peak(graph, seconds=seconds)
    row = {"network": name, "ops": len(graph.ops), "method": method, "peak_seconds": time.perf_counter() - start}
    check_plan(graph, peak, peak.peak_bytes)
    low, high = graph.smallest_budget, peak.peak_bytes
    place = {op.name: index for index, op in enumerate(graph.ops)}
    orders = {"default": None, "least peak": [place[op] for op in peak.order]}
    row |= {"peak_proven": peak.optimal, "budgets": {"M_R": low, "M_H": (low + high) // 2, "M_P": high}, "at": {}}
    for mark, budget in row["budgets"].items():
        start = time.perf_counter()
        plan = plan_memory(graph, budget, method, seconds=seconds)
        taken = time.perf_counter() - start
        check_plan(graph, plan, budget)
        baselines = {}
        for where, order in orders.items():
            for rule, title in (("belady", "Belady"), ("fewest_bytes", "fewest bytes")):
                other = by_replacement(graph, budget, order, rule)
                check_plan(graph, other, budget)
                baselines[f"{where}, {title}"] = other.traffic_bytes
        row["at"][mark] = {
            "ours": plan.traffic_bytes,
            "bound": plan.bound,
            "proven": plan.optimal,
            "seconds": taken,
            "baselines": baselines,
            "ideal_belady": replacement_traffic(graph, budget),
        }
    print(f"{name:18} {row['at']['M_R']}", flush=True)
    return row


def saved(rows: list[dict], mark: str, which) -> tuple[str, int]:
    """Return the mean share that is saved over the networks whose baseline moves anything, and their number."""
    shares = [1 - row["at"][mark]["ours"] / which(row["at"][mark]) for row in rows if which(row["at"][mark])]
    return (f"{100 * sum(shares) / len(shares):.1f} %" if shares else "-"), len(shares)


YARDSTICKS = {
    "default order, Belady": lambda at: at["baselines"][DEFAULT],
    "the best of the four, for each network": lambda at: min(at["baselines"].values()),
    "default order, Belady, memory never in pieces (no addresses)": lambda at: at["ideal_belady"],
}


def table(rows: list[dict]) -> list[str]:
    lines = [
        "| network | operators | budget | bytes | default, Belady | default, fewest | least peak, Belady "
        "| least peak, fewest | Belady, no addresses | ours | bound | proven | s |",
        "|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---|---:|",
    ]
    for row in rows:
        for mark, at in row["at"].items():
            others = " | ".join(f"{value:,}" for value in at["baselines"].values())
            lines.append(
                f"| {row['network']} | {row['ops']} | {mark} | {row['budgets'][mark]:,} | {others} "
                f"| {at['ideal_belady']:,} | {at['ours']:,} | {at['bound']:,} | {'yes' if at['proven'] else 'no'} "
                f"| {at['seconds']:.1f} |"
            )
    return lines


def averages(rows: list[dict]) -> list[str]:
    lines = ["| against | at M_R | at M_H | at M_P |", "|---|---:|---:|---:|"]
    for title, which in YARDSTICKS.items():
        cells = [saved(rows, mark, which) for mark in ("M_R", "M_H", "M_P")]
        lines.append(f"| {title} | " + " | ".join(f"{mean} of {count}" for mean, count in cells) + " |")
    return lines


def targets(regular: list[dict], searched: list[dict]) -> list[str]:
    def verdict(met: bool) -> str:
        return "met" if met else "missed"

    lines = []
    for rows, what, aim in (
        (regular, "the networks by the exact method", 84),
        (searched, "the searched networks by `divide`", 85),
    ):
        for title in list(YARDSTICKS)[:2]:
            mean, count = saved(rows, "M_R", YARDSTICKS[title])
            met = verdict(mean != "-" and float(mean.split()[0]) >= aim)
            lines.append(
                f"- saved at M_R on {what}, against {title}: {mean} ({count} move anything), aimed at {aim} %: {met}"
            )
    zero = all(row["at"]["M_P"]["ours"] == 0 for row in (*regular, *searched))
    lines.append(f"- traffic at M_P of all networks: {'0' if zero else 'not 0'}, aimed at 0: {verdict(zero)}")
    slow = max(max(at["seconds"] for at in row["at"].values()) for row in regular)
    proven = all(at["proven"] for row in regular for at in row["at"].values())
    lines.append(
        f"- optimum of the {len(regular)} networks at each budget: {'all' if proven else 'not all'} proven, "
        f"the slowest in {slow:.1f} s, aimed at 60 s: {verdict(proven and slow <= 60)}"
    )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="time limit of each plan")
    parser.add_argument("--out", type=Path, default=Path("docs/memory_table.md"))
    arguments = parser.parse_args()
    regular = [measure(name, "optimal", arguments.seconds) for name in REGULAR]
    divided = [measure(name, "divide", arguments.seconds) for name in SEARCHED]
    exact = [measure(name, "optimal", arguments.seconds) for name in SEARCHED]
    lines = [
        "# Memory schedules, measured",
        "",
        "Written by `python bench/cosma.py`; do not edit. How it is measured and what the words mean:",
        "[Memory schedules](memory.md).",
        "",
        "Seconds on {cpu}, {cores} cores, other work beside it (load {load:.0f}).".format(**machine()),
        "All figures but budgets are bytes that are not compulsory. `of n`: the mean is over the n networks whose",
        "baseline moves anything; the others move nothing in any plan.",
        "",
        "## Targets",
        "",
        *targets(regular, divided),
        "",
        "## Networks, exact method",
        "",
        *averages(regular),
        "",
        *table(regular),
        "",
        "## Searched networks, `divide`",
        "",
        *averages(divided),
        "",
        *table(divided),
        "",
        "## Searched networks, exact method",
        "",
        *averages(exact),
        "",
        *table(exact),
        "",
    ]
    write_atomic(arguments.out, "\n".join(lines))
    print("\n".join(lines))
    write("cosma", {"regular": regular, "divided": divided, "exact": exact})


if __name__ == "__main__":
    main()
