"""From networks to programs: exported checkpoints, compilation onto machines."""

__all__ = [
    "Checkpoint",
    "StoredLayer",
    "StoredWeight",
    "assign_precision",
    "check_machine",
    "compile_network",
    "read_checkpoint",
    "write_checkpoint",
]

from tetrit.hls.checkpoint import Checkpoint, StoredLayer, StoredWeight, read_checkpoint, write_checkpoint
from tetrit.hls.compile import check_machine, compile_network
from tetrit.hls.precision import assign_precision
