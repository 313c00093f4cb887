"""The drawing functions: each takes the plain report and returns a figure, or None if the run has no numbers for it.

Bars start at zero; charts whose axis does not are dot plots and say where it starts.
"""

__all__: list[str] = []
