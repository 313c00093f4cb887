"""Networks as job lists of the matrix co-processor: compiled, laid out in memory, run as a model, written to files."""

__all__ = ["Copy", "HostNode", "JobProgram", "JobStep", "Place", "Segment", "Step", "Totals", "compile_jobs"]

from tetrit.hls.jobs.compiler import compile_jobs
from tetrit.hls.jobs.memory import Segment
from tetrit.hls.jobs.place import Place
from tetrit.hls.jobs.program import JobProgram, Totals
from tetrit.hls.jobs.steps import Copy, HostNode, JobStep, Step
