"""From networks to programs: exported checkpoints, compilation onto machines."""

__all__ = [
    "Checkpoint",
    "CppOptions",
    "CppProject",
    "Graph",
    "IntegerGraph",
    "IntegerTensor",
    "JobProgram",
    "MemoryPlan",
    "NetworkMapping",
    "Node",
    "Op",
    "PrecisionChoice",
    "PrecisionTable",
    "StoredLayer",
    "StoredWeight",
    "TensorGraph",
    "Value",
    "assign_precision",
    "check_machine",
    "check_plan",
    "choose_precision",
    "compile_jobs",
    "compile_network",
    "from_onnx",
    "from_torch",
    "layer_costs",
    "load",
    "map_network",
    "minimum_peak",
    "networks",
    "pareto_front",
    "plan_memory",
    "quantize",
    "read_checkpoint",
    "to_hls_cpp",
    "write_checkpoint",
]

from tetrit.hls import networks
from tetrit.hls.checkpoint import Checkpoint, StoredLayer, StoredWeight, read_checkpoint, write_checkpoint
from tetrit.hls.compile import check_machine, compile_network
from tetrit.hls.cpp import CppOptions, CppProject, to_hls_cpp
from tetrit.hls.graph import Graph, Node, Value
from tetrit.hls.importers import from_onnx, from_torch
from tetrit.hls.integer import IntegerGraph, IntegerTensor, quantize
from tetrit.hls.jobs import JobProgram, compile_jobs
from tetrit.hls.loading import load
from tetrit.hls.mapping import NetworkMapping, map_network
from tetrit.hls.memory import MemoryPlan, Op, TensorGraph, check_plan, minimum_peak, plan_memory
from tetrit.hls.precision import (
    PrecisionChoice,
    PrecisionTable,
    assign_precision,
    choose_precision,
    layer_costs,
    pareto_front,
)
