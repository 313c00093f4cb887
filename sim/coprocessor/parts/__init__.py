"""The parts of the co-processor whose hand-overs are followed: walk over tiles, gearboxes, stores, buses."""

__all__: list[str] = []
