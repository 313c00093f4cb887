"""Networks as C++ for high-level synthesis: readable, templated, bit-exact against the golden run."""

__all__ = ["CppOptions", "CppProject", "to_hls_cpp"]

from tetrit.hls.cpp.options import CppOptions
from tetrit.hls.cpp.project import CppProject, to_hls_cpp
