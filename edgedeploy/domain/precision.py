"""What a precision is called, what it does to numbers, and how much of PyTorch's answer has to be left of it."""

from __future__ import annotations

import msgspec

from edgedeploy.domain.recipe import Floors, Recipe


class Precision(msgspec.Struct, frozen=True, kw_only=True):
    """A precision that exporters know.

    ``weight_bits`` is what a weight takes in the file, scales not counted; ``activation_bits`` what the arithmetic sees.
    ``floors`` are the defaults for a recipe that names none, and ``source`` says where they come from. ``safer`` is the next
    precision to try when an export falls short, None where there is nothing safer.
    """

    title: str
    weight_bits: int
    activation_bits: int
    floors: Floors
    source: str
    safer: str | None


# The table of measurements behind these is docs/accuracy.md.
# Perplexity: fp32 differs by rounding alone. The README of ExecuTorch's Llama example gives, for 8da4w and WikiText,
# Llama 2 7B 9.2 -> 10.2 (+11 %) and Llama 3 8B 7.9 -> 9.4 (+19 %) in groups of 128; groups of 32 lose less.
_EXACT = Floors(min_sqnr_db=60.0, min_cosine=0.9999, min_same=1.0, min_same_tokens=1.0, max_perplexity_increase=0.001)
_HALF = Floors(min_sqnr_db=30.0, min_cosine=0.999, min_same=0.98, max_perplexity_increase=0.02)
_EIGHT_BITS = Floors(min_sqnr_db=15.0, min_cosine=0.98, min_same=0.9, max_perplexity_increase=0.05)
_FOUR_BITS = Floors(min_sqnr_db=8.0, min_cosine=0.92, min_same=0.8, max_perplexity_increase=0.2)

_ROUNDING = "rounding only: XNNPACK and LiteRT reach 122 to 139 dB, a wrong operator lands below 30"
_HALVED = "half precision leaves 60 to 77 dB; LayerNorm on ExecuTorch's kernels leaves NaN, or less than 0 dB"
_EIGHT = "8 bits leave 18 to 63 dB on models that still work, and 5 dB and less on ruined ones"
_FOUR = "4-bit weights leave 9 to 39 dB; a broken scale leaves nothing"

PRECISIONS: dict[str, Precision] = {
    "fp32": Precision(title="32-bit floats", weight_bits=32, activation_bits=32, floors=_EXACT, source=_ROUNDING, safer=None),
    "fp16": Precision(title="16-bit floats", weight_bits=16, activation_bits=16, floors=_HALF, source=_HALVED, safer="fp32"),
    "int8": Precision(
        title="8-bit weights and activations, as far as the model bears it",
        weight_bits=8,
        activation_bits=8,
        floors=_EIGHT_BITS,
        source=_EIGHT,
        safer="int8-dynamic",
    ),
    "int8-static": Precision(
        title="8-bit weights and activations, all ranges calibrated",
        weight_bits=8,
        activation_bits=8,
        floors=_EIGHT_BITS,
        source=_EIGHT,
        safer="int8",
    ),
    "int8-dynamic": Precision(
        title="8-bit weights, activation ranges chosen while it runs",
        weight_bits=8,
        activation_bits=8,
        floors=_EIGHT_BITS,
        source=_EIGHT,
        safer="int8-weights",
    ),
    "int8-weights": Precision(
        title="8-bit weights, float arithmetic",
        weight_bits=8,
        activation_bits=32,
        floors=_EIGHT_BITS,
        source=_EIGHT,
        safer="fp16",
    ),
    "16x8": Precision(
        title="8-bit weights, 16-bit activations",
        weight_bits=8,
        activation_bits=16,
        floors=_EIGHT_BITS,
        source=_EIGHT,
        safer="fp16",
    ),
    "8da4w": Precision(
        title="4-bit weights in groups of 32, 8-bit activations chosen while it runs",
        weight_bits=4,
        activation_bits=8,
        floors=_FOUR_BITS,
        source=_FOUR,
        safer="int8-dynamic",
    ),
    "int4-weights": Precision(
        title="4-bit weights, float arithmetic",
        weight_bits=4,
        activation_bits=32,
        floors=_FOUR_BITS,
        source=_FOUR,
        safer="int8-weights",
    ),
    "palette4": Precision(
        title="weights from a table of 16 values",
        weight_bits=4,
        activation_bits=16,
        floors=_FOUR_BITS,
        source=_FOUR,
        safer="palette6",
    ),
    "palette6": Precision(
        title="weights from a table of 64 values",
        weight_bits=6,
        activation_bits=16,
        floors=_EIGHT_BITS,
        source=_EIGHT,
        safer="int8-weights",
    ),
    "sparse-int8": Precision(
        title="8-bit weights of a pruned model, zeros not stored",
        weight_bits=8,
        activation_bits=16,
        floors=_EIGHT_BITS,
        source=_EIGHT,
        safer="int8-weights",
    ),
    "sparse-palette4": Precision(
        title="weights of a pruned model from a table of 16 values, zeros not stored",
        weight_bits=4,
        activation_bits=16,
        floors=_FOUR_BITS,
        source=_FOUR,
        safer="palette4",
    ),
}


FLOAT32_ADVICE = "make them float32 in the model source: module.float(); a lane's precision decides what the file has"
"""What to do about weights in another floating type."""

AUTO = "auto"
"""In a recipe: the cheapest of a few precisions that meets accuracy and budget."""


def floors_of(recipe: Recipe) -> Floors:
    """The recipe's own floors; where it says nothing at all, its precision's defaults (none for one of a plug-in's)."""
    known = PRECISIONS.get(recipe.precision)
    return known.floors if known and recipe.accept == Floors() else recipe.accept


def safer_precisions(precision: str) -> tuple[str, ...]:
    """What to fall back to, the nearest first: ``("int8-dynamic", "int8-weights", "fp16", "fp32")`` for int8."""
    found: list[str] = []
    known = PRECISIONS.get(precision)
    while known is not None and known.safer is not None:
        found.append(known.safer)
        known = PRECISIONS[known.safer]
    return tuple(found)
