"""Comparisons of a project: both sides found, wherever they come from, and the baselines that are kept to compare with."""
