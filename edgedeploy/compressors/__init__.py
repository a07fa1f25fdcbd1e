"""Compressors: torch lives here, imported where it is used."""
