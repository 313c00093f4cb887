"""The float network graph: its types, shape inference, building, rewriting and execution."""

__all__ = ["Builder", "Graph", "Node", "Value", "folded", "pruned", "simplified"]

from tetrit.hls.graph.build import Builder
from tetrit.hls.graph.ir import Graph, Node, Value
from tetrit.hls.graph.passes import folded, pruned, simplified
