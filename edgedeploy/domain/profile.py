"""What a model is made of, as far as its size, memory and speed depend on it: counted without converting anything."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from edgedeploy.domain.artifact import TensorSpec

PROFILE_SCHEMA = "edgedeploy.profile/2"

WeightKind = Literal[
    "linear", "conv", "embedding", "lookup", "recurrent", "bias", "norm", "statistics", "folded", "other", "unused"
]
"""What reads a weight: its layer decides how a format stores it.

``embedding`` is a table that inputs choose rows of, ``lookup`` one that only constants do (position embeddings), and those
constants: some converters look them up once and for all. ``recurrent`` are the matrices of GRU and LSTM, ``bias`` what is
added to a layer's output. ``folded`` are weights that vanish into the convolution before them (BatchNorm); where that convolution
has no bias, it gets one, which is counted as ``bias``. ``statistics`` are mean and variance of a BatchNorm that stays.
``unused`` is not read by any operator.
"""


class Weight(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter, buffer or constant, once; ``kinds`` has more than one entry where layers of several kinds share it.

    ``looked_up`` is how many elements of a ``lookup`` table its constants take. ``digest`` stands for what it holds:
    formats store equal weights once. It is empty where folding changes what is stored. ``zeros``: it holds nothing else, as
    biases of layers do that were never trained. ``before_relu``: a ReLU follows its convolution.
    """

    name: str
    kinds: tuple[WeightKind, ...]
    dtype: str
    shape: tuple[int, ...]
    element_bytes: int
    looked_up: int = 0
    digest: str = ""
    zeros: bool = False
    before_relu: bool = False

    @property
    def elements(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """As PyTorch holds it."""
        return self.elements * self.element_bytes

    @property
    def floating(self) -> bool:
        """Whether a lower precision changes it: integers keep their width."""
        return self.dtype.startswith(("float", "bfloat"))


class State(msgspec.Struct, frozen=True, kw_only=True):
    """A buffer that a call changes. ``zeros``: that is what it begins as."""

    name: str
    dtype: str
    size_bytes: int
    zeros: bool


class MethodProfile(msgspec.Struct, frozen=True, kw_only=True):
    """One method at the shapes of its example inputs.

    ``macs`` are multiply-accumulates of matrix products, convolutions and attention. ``operators`` counts those of the
    exported graph by name (``linear``, ``layer_norm``), ``primitives`` those left after composite ones are taken apart:
    what a converter has to walk through. ``steps`` counts the same by name, and views too (``permute``), with layers that
    no converter takes apart as one: ``linear``, ``conv2d``, ``batch_norm`` (``folded_batch_norm`` where it vanishes). What
    splits a value counts once per part.
    ``label_bytes`` is the mean length of a module's path with an operator's name, which some formats keep as names.
    ``activation_bytes`` is the peak of all values that are alive at once, in
    PyTorch's own dtypes, weights not counted, inputs and outputs counted.
    ``golden_cases`` and ``calibration_cases`` are how many inputs of each kind there are.

    ``inputs`` have PyTorch's own dtypes, and say which sizes move. ``lines`` has those operators that compute an output from
    an input, with their overloads (``median.dim``), each with the line of the user's Python that calls it first (empty where
    it is not known): what constants alone decide, a converter may fold away.
    """

    name: str
    macs: int
    operators: dict[str, int]
    primitives: int
    steps: dict[str, int]
    label_bytes: int
    activation_bytes: int
    input_bytes: int
    output_bytes: int
    golden_cases: int
    calibration_cases: int
    inputs: tuple[TensorSpec, ...] = ()
    lines: dict[str, str] = {}


class ModelProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A model after its compress steps.

    ``states`` are what the methods keep from one call to the next: a KV cache, for one; ``state_bytes`` is the most that one
    of them keeps. ``loaded_rss_bytes`` is the memory of the process that loaded it, with PyTorch and the user's libraries; 0
    where the system does not say.
    """

    schema: str = PROFILE_SCHEMA
    parameters: int
    weights: tuple[Weight, ...]
    state_bytes: int
    states: tuple[State, ...] = ()
    methods: tuple[MethodProfile, ...]
    loaded_rss_bytes: int
    torch: str

    @property
    def weight_bytes(self) -> int:
        """Of every weight that an operator reads, once each, in PyTorch's own dtypes."""
        return sum(weight.size_bytes for weight in self.weights if weight.kinds != ("unused",))

    @property
    def operators(self) -> frozenset[str]:
        """Names of the operators of all methods."""
        return frozenset(name for method in self.methods for name in method.operators)

    def computes(self, *names: str) -> bool:
        """Whether one of these operators is in some method."""
        return not self.operators.isdisjoint(names)

    @property
    def stored_weights(self) -> tuple[Weight, ...]:
        """Those that some operator reads and that do not vanish; equal ones that are read alike, once."""
        stored = {
            (weight.digest or weight.name, weight.dtype, weight.shape, weight.kinds): weight
            for weight in self.weights
            if not {"unused", "folded"}.issuperset(weight.kinds)
        }
        return tuple(stored.values())

    def calls(self, *prefixes: str) -> int:
        """How many operators there are in all methods whose names begin so."""
        return sum(n for method in self.methods for name, n in method.operators.items() if name.startswith(prefixes))

    def steps(self, *names: str) -> int:
        """How many steps of these names all methods have."""
        return sum(method.steps.get(name, 0) for method in self.methods for name in names)

    @property
    def primitives(self) -> int:
        """Of all methods."""
        return sum(method.primitives for method in self.methods)

    @property
    def activation_bytes(self) -> int:
        """The largest of all methods': one runs at a time."""
        return max(method.activation_bytes for method in self.methods)

    @property
    def macs(self) -> int:
        """Of the main method: what one call costs."""
        return self.methods[0].macs

    def weight_bytes_by_kind(self) -> dict[WeightKind, int]:
        """Bytes in PyTorch's own dtypes by the first kind of each weight; the largest first."""
        totals: Counter[WeightKind] = Counter()
        for weight in self.weights:
            totals[weight.kinds[0]] += weight.size_bytes
        return dict(totals.most_common())


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """One operator as memory sees it: the storages it reads and those it makes. ``in_place``: it may write over an input."""

    reads: tuple[int, ...]
    writes: tuple[int, ...]
    in_place: bool = False


def peak_live_bytes(accesses: Sequence[Access], sizes: Mapping[int, int], *, given: Sequence[int], kept: Sequence[int]) -> int:
    """The most bytes that are alive at once.

    A storage lives from the operator that makes it to the last that reads it; ``given`` ones from the start, ``kept`` ones to
    the end. An operator that may work in place takes over a storage of the same size that nobody reads after it. Storages
    that are not in ``sizes`` (weights) do not count.
    """
    last_read = {storage: index for index, access in enumerate(accesses) for storage in access.reads}
    last_read |= dict.fromkeys(kept, len(accesses))
    live = {storage for storage in given if storage in sizes}
    peak = sum(sizes[storage] for storage in live)
    for index, access in enumerate(accesses):
        dying = {storage for storage in (*access.reads, *access.writes) if last_read.get(storage, index) <= index} & sizes.keys()
        made = [storage for storage in access.writes if storage in sizes and storage not in live]
        now = sum(sizes[storage] for storage in {*live, *made})
        if access.in_place:
            now -= sum(sizes[storage] for storage in made if any(sizes[storage] == sizes[old] for old in dying & live))
        peak = max(peak, now)
        live = (live | set(made)) - dying
    return peak
