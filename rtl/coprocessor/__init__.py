"""The matrix co-processor as hardware: AXI4 in and out, scratchpads, tile sequencer, and either array within."""

__all__ = ["HEADER_NAME", "REGISTERS", "MatmulCoprocessor", "header", "page", "register"]

from tetrit.rtl.coprocessor.coprocessor import MatmulCoprocessor
from tetrit.rtl.coprocessor.registers import REGISTERS, register
from tetrit.rtl.coprocessor.texts import HEADER_NAME, header, page
