"""Elementary functions written out in float64 operations: the same bits on every platform, vector unit and device."""
