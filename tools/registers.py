"""Writes the page of the manual on the co-processor's registers: `python tools/registers.py`, in the repository."""

from pathlib import Path

from tetrit.rtl.coprocessor import page

if __name__ == "__main__":
    target = Path(__file__).parents[1] / "docs" / "reference" / "coprocessor_registers.md"
    target.write_text(page(), encoding="utf-8")
