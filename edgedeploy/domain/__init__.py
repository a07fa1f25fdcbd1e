"""Frozen types that cross module edges. No I/O here, nothing heavy."""
