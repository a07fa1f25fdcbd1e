"""Statistics of what was measured. Pure: no files, clocks, NumPy or torch, so that every edge of edgedeploy may judge.

One file per question: ``comparison`` (is the candidate slower?), ``schedule`` (whose turn is it?), ``steady`` (is it warm?),
``history`` (did a series step or drift?), ``next_value`` (is a result outside its series?), ``sessions`` (do two sessions
agree?), ``repetitions`` (how sure is a mean?).
"""

from edgedeploy.stats.quantiles import quantile, quantile_interval

__all__ = ["quantile", "quantile_interval"]
