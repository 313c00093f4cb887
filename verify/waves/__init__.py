"""Waveforms of verification runs: FST files, and view files for GTKWave and Surfer beside them."""

__all__ = ["DEFAULT_CYCLES", "Recording", "Tap", "Waves", "vcd_to_fst"]

from tetrit.verify.waves.recording import DEFAULT_CYCLES, Recording, Waves
from tetrit.verify.waves.tap import Tap
from tetrit.verify.waves.vcd import vcd_to_fst
