"""Tables of the network: accuracy, training, weight codes, formats."""

__all__ = ["tables"]

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tetrit.report.numbers import code_order, estimator_label
from tetrit.report.tables.model import Cell, Table, column, total, words


def tables(report: Mapping[str, Any]) -> Iterator[Table]:
    """Yield the tables of the network that `report` has the blocks for."""
    if "accuracy" in report:
        yield _accuracy(report["accuracy"])
        yield _estimators(report["accuracy"])
    if "training" in report:
        yield _training(report["training"])
        yield _weight_codes(report["training"]["weight_codes"])
    if "formats" in report:
        yield from _formats(report["formats"])


def _accuracy(block: Mapping[str, Any]) -> Table:
    rows = block["per_seed"]
    keys = {"float": "float", "quantized": "quantised", "machine": "machine"}
    columns = (
        words("seed", "seed", [str(row["seed"]) for row in rows]),
        *(column(key, title, [row[key] for row in rows], "accuracy") for key, title in keys.items()),
    )
    mean = total(columns, (), "mean", **{key: block[key] for key in keys})
    title = f"Accuracy of this run, {block['n_test']:,} held-out images"
    return Table(name="accuracy", title=title, columns=columns, total=mean)


def _estimators(block: Mapping[str, Any]) -> Table:
    rows = block["by_estimator"]
    columns = (
        words("estimator", "estimator", [estimator_label(row) for row in rows]),
        column("bits", "bits", [row["bits"] for row in rows], "count"),
        column("accuracy", "mean", [row["accuracy"] for row in rows], "accuracy"),
        words("per_cent", "single seeds, %", [", ".join(f"{100 * x:.2f}" for x in row["per_seed"]) for row in rows]),
    )
    return Table(name="estimators", title="Estimators, quantised in floating-point arithmetic", columns=columns)


def _training(block: Mapping[str, Any]) -> Table:
    rows: Sequence[Mapping[str, float]] = block["history"]
    accuracies = sorted({key for row in rows for key in row if key.endswith("accuracy")})
    columns = (
        column("epoch", "epoch", [row["epoch"] for row in rows], "count"),
        column("seed", "seed", [row.get("seed") for row in rows], "count"),
        column("loss", "loss", [row["loss"] for row in rows]),
        *(
            column(f"fraction {name}", name.replace("_", " "), [row.get(name) for row in rows], "accuracy")
            for name in accuracies
        ),
    )
    return Table(name="training", title="Loss and accuracy over the epochs", columns=columns)


def _weight_codes(layers: Mapping[str, Mapping[str, float]]) -> Table:
    codes = code_order(code for shares in layers.values() for code in shares)
    columns = (
        words("layer", "layer", list(layers)),
        *(
            column(f"code {code}", code, [shares.get(code, 0.0) for shares in layers.values()], "share")
            for code in codes
        ),
    )
    return Table(name="weight_codes", title="Share of each weight code", columns=columns)


def _formats(block: Mapping[str, Any]) -> Iterator[Table]:
    layers, networks = block["layers"], block["networks"]
    names = words("layer", "layer", [layer["name"] for layer in layers])
    kinds = {"act": "inputs", "weight": "weights", "out": "outputs"}
    yield Table(
        name="formats",
        title=f"Formats of each layer{', chosen by this run' if block['chosen'] else ', as given'}",
        columns=(names, *(words(key, title, [layer[key] for layer in layers]) for key, title in kinds.items())),
    )
    losses = [[1000 * layer["losses"][place] for layer in layers] for place in range(len(block["candidates"]))]
    yield Table(
        name="format_losses",
        title="Divergence from the float network with one layer alone in a format, in thousandths of a nat",
        columns=(
            names,
            *(
                column(f"millinat {name}", name, values, digits=2)
                for name, values in zip(block["candidates"], losses, strict=True)
            ),
        ),
    )
    formats: list[Cell] = [", ".join(network["formats"]) for network in networks]
    yield Table(
        name="format_networks",
        title="Choices of formats, on the machine in codes",
        columns=(
            words("network", "network", [network["name"] for network in networks]),
            words("formats", "formats, layer by layer", formats, prose=True),
            column("mean_bits", "mean bits", [network["mean_bits"] for network in networks], digits=3),
            column("weight_bytes", "weights, bytes", [network["weight_bytes"] for network in networks], digits=6),
            column("cycles", "cycles", [network["cycles"] for network in networks], "count"),
            column("post_training", "rounded", [network["post_training"] for network in networks], "accuracy"),
            column("trained", "trained on", [network["trained"] for network in networks], "accuracy"),
        ),
    )
