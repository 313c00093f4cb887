"""Whole networks on the Verilated co-processor: every tensor against the golden integers, every job's cycles."""

__all__ = ["SLOW_MEMORY", "NetworkRun", "NodeCheck", "build_coprocessor", "run_network"]

from tetrit.verify.network.running import SLOW_MEMORY, NetworkRun, NodeCheck, build_coprocessor, run_network
