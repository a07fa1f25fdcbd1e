"""Exporters: one SDK each, imported where it is used."""
