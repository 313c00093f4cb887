"""Winograd's convolution: exact transforms at rational points, execution by tiles, errors, widths, and its choice."""

__all__ = [
    "Choice",
    "Transform",
    "Widths",
    "WinogradProduct",
    "apply",
    "choose",
    "condition",
    "conv2d",
    "conv2d_exact",
    "growth",
    "measure",
    "transform",
    "widths",
]

from tetrit.hls.winograd.analysis import growth, measure
from tetrit.hls.winograd.choice import Choice, choose
from tetrit.hls.winograd.execute import conv2d, conv2d_exact
from tetrit.hls.winograd.node import WinogradProduct, apply
from tetrit.hls.winograd.points import condition
from tetrit.hls.winograd.transform import Transform, transform
from tetrit.hls.winograd.widths import Widths, widths
