"""What an exporter expects of an export it has not made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import msgspec

from edgedeploy.domain.profile import ModelProfile, Weight, WeightKind

Arithmetic = Literal["fp32", "fp16", "int8"]
"""In which numbers the multiplications are done: that decides how many a core does per cycle."""

_GONE: frozenset[WeightKind] = frozenset({"folded", "unused"})


class Footprint(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes before they are there.

    ``size_bytes`` is the file, ``weight_bytes`` the weights in it, ``packed_bytes`` the copies that the runtime makes of
    them at load, in the order its kernels want, ``runtime_bytes`` what it takes without a model. ``activation_bytes`` is the
    peak of the values between the operators, ``export_peak_bytes`` that of the process which exports. ``arithmetic`` is that
    of the CPU's cores; None where something else computes, or may.
    """

    size_bytes: int
    weight_bytes: int
    packed_bytes: int
    runtime_bytes: int
    activation_bytes: int
    export_peak_bytes: int
    arithmetic: Arithmetic | None


class Packing(msgspec.Struct, frozen=True, kw_only=True):
    """How a precision stores weights: bits per element by kind, ``otherwise`` for the kinds that are not named.

    ``scale_bytes`` come with every output channel of a weight of less than 16 bits, and of the kinds in ``scaled``; below 8
    bits, where there is a ``group``, with so many elements; a width that is no multiple takes eight bits, where
    ``eight_where_undivided``. Where weights are indices into tables, there is one (in place of a
    scale) for ``rows_per_table`` channels, and weights that do not divide so stay at ``otherwise``.
    Tensors of fewer than ``least_elements`` stay at ``otherwise``. ``lookups_done``: of a ``lookup`` table only what its
    constants take from it is left. ``shared_once``: a weight that layers of two kinds read (a table that is also the last
    linear layer) is stored for the first alone. ``zero_biases_vanish``, as if the layer had none;
    ``statistics_vanish`` into the weights of their BatchNorm.
    A constant begins at a multiple of ``alignment`` after ``header_bytes`` of its own; the scales of a weight are a constant
    too, where ``scales_apart``.
    """

    bits: Mapping[WeightKind, float] = {}
    otherwise: float = 32
    scale_bytes: float = 4
    scaled: frozenset[WeightKind] = frozenset()
    scales_apart: bool = False
    group: int = 0
    eight_where_undivided: bool = False
    rows_per_table: int = 0
    least_elements: int = 0
    lookups_done: bool = False
    shared_once: bool = False
    zero_biases_vanish: bool = False
    statistics_vanish: bool = False
    alignment: int = 1
    header_bytes: int = 0

    def size_bytes(self, profile: ModelProfile) -> int:
        """Of all weights with their scales."""
        return sum(self._in_file(weight, kind) for weight in profile.stored_weights for kind in self.stored_for(weight))

    def shrunk_bytes(self, profile: ModelProfile, kinds: frozenset[WeightKind]) -> int:
        """Of the weights of some kinds, as a runtime holds them."""
        return round(
            sum(sum(self._data_and_scales(weight, kind)) for weight in profile.weights for kind in weight.kinds if kind in kinds)
        )

    def stored_for(self, weight: Weight) -> tuple[WeightKind, ...]:
        """The kinds of layers that a weight is stored for, once each."""
        kinds = tuple(kind for kind in weight.kinds if kind not in _GONE)
        without_use = self.zero_biases_vanish and weight.zeros and kinds == ("bias",)
        if without_use or (self.statistics_vanish and kinds == ("statistics",)):
            return ()
        return kinds[:1] if self.shared_once else kinds

    def scales(self, weight: Weight, kind: WeightKind) -> int:
        """How many scales are stored with a weight."""
        bits = self._bits(weight, kind)
        if not weight.floating or not weight.shape or not (bits < 16 or kind in self.scaled):  # noqa: PLR2004 - floats need none
            return 0
        if self.rows_per_table:
            return weight.shape[0] // self.rows_per_table
        in_groups = self.group and bits < 8  # noqa: PLR2004 - int8 has one scale per channel everywhere
        return weight.elements // self.group if in_groups else weight.shape[0]

    def _bits(self, weight: Weight, kind: WeightKind) -> float:
        bits, rows = self.bits.get(kind, self.otherwise), weight.shape[0] if weight.shape else 1
        if weight.elements < self.least_elements or (self.rows_per_table and rows % self.rows_per_table):
            return self.otherwise
        if self.group and self.eight_where_undivided and weight.elements // max(1, rows) % self.group:
            return max(bits, 8)
        return bits

    def _data_and_scales(self, weight: Weight, kind: WeightKind) -> tuple[float, float]:
        if kind == "lookup" and self.lookups_done:
            return weight.looked_up * min(self.otherwise, 32) / 8, 0
        if not weight.floating:
            return weight.size_bytes, 0
        return weight.elements * self._bits(weight, kind) / 8, self.scales(weight, kind) * self.scale_bytes

    def _in_file(self, weight: Weight, kind: WeightKind) -> int:
        data, scales = self._data_and_scales(weight, kind)
        constants = (data, scales) if self.scales_apart else (data + scales,)
        return sum(self.header_bytes + self.alignment * math.ceil(size / self.alignment) for size in constants if size)


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """What an export takes beyond the loaded model: the SDK, copies of weights, and the graph, per primitive operator.

    ``floor_bytes`` is a process that has imported PyTorch and the SDK and nothing else: where a model has imported little,
    the SDK brings the rest. ``per_largest_byte`` counts copies of the largest weight, where they are made one at a time.
    """

    base_bytes: float
    floor_bytes: float
    per_weight_byte: float
    per_largest_byte: float = 0
    per_primitive: float

    def peak_bytes(self, profile: ModelProfile) -> int:
        """The peak memory of the process that exports."""
        imported = max(profile.loaded_rss_bytes - profile.weight_bytes + self.base_bytes, self.floor_bytes)
        largest = max((weight.size_bytes for weight in profile.weights), default=0)
        copies = self.per_weight_byte * profile.weight_bytes + self.per_largest_byte * largest
        return round(imported + profile.weight_bytes + copies + self.per_primitive * profile.primitives)
