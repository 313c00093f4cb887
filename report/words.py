"""What reports call the stages and networks of a run on a crossbar."""

__all__ = ["COMPENSATIONS", "NETWORKS", "STAGES", "row_title"]

STAGES = {
    "perfect": "crossbar, all perfect",
    "converters": "+ real converters",
    "wires": "+ wire resistance",
    "chips": "+ real cells: fresh chips",
}
"""What is real in a simulation: of each, what the last ones have, and more."""

NETWORKS = {"plain": "as trained", "control": "trained on, no noise", "noise_aware": "noise-aware"}

COMPENSATIONS = {"none": "uncompensated", "global": "compensated"}


def row_title(stage: str, network: str) -> str:
    """Return the name of a stage; of another network than the plain one, which has only fresh chips, the network's."""
    return STAGES[stage] if network == "plain" else f"fresh chips, {NETWORKS[network]}"
