"""A small space to explore, and what of its exploration does not change from run to run."""

SMALL = """
name = "small"
objectives = ["latency_us", "energy_uj", "area_mm2"]
constraints = ["area_mm2 <= 3.6"]
[workload]
kind = "gemm"
[[workload.gemm]]
m = 40
k = 30
n = 20
count = 2
[[workload.gemm]]
m = 9
k = 100
n = 7
[[machine]]
preset = "shift_8x8"
[machine.parameters]
rows = [2, 4, 8, 0]
cols = [4, 8]
dataflow = ["weight_stationary", "output_stationary"]
"""


def plain(store):
    """What must be the same however a space was run."""
    return [{key: value for key, value in row.items() if key not in ("seconds", "finished")} for row in store.rows()]
