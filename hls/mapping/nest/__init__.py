"""Cycles of nests of tiles, of any size in little time."""

__all__: list[str] = []
