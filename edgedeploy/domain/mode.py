"""How a model is run while it is measured: one inference after the other, in bursts, for minutes, and so on."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

Mode = Literal["single", "burst", "sustained", "cold", "throughput", "concurrent"]
MODES: tuple[Mode, ...] = get_args(Mode)

_Few = Annotated[int, Meta(gt=0, le=10_000)]
_Threads = Annotated[int, Meta(ge=0, le=1024)]
_LONGEST_S = 3600


class Burst(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``bursts`` times per process: ``idle_s`` of rest, then ``invocations`` without a pause."""

    invocations: _Few = 10
    idle_s: Annotated[float, Meta(gt=0, le=600)] = 1.0
    bursts: _Few = 10

    def __post_init__(self) -> None:
        """It has to come to an end."""
        if self.bursts * self.idle_s > _LONGEST_S:
            raise ValueError(f"{self.bursts} bursts after {self.idle_s:g} s of rest take more than an hour")


class Sustained(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Inferences without a pause for ``minutes``. Who becomes slower by ``slowdown`` (0.1: 10 %) and stays so is throttled."""

    minutes: Annotated[float, Meta(gt=0, le=60)] = 10.0
    slowdown: Annotated[float, Meta(ge=0.01, le=10)] = 0.1


class Cold(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """So many fresh processes, each with the model's file out of the page cache.

    ``drop_caches``: everybody's files are taken out of it, where root can; so the runner's libraries come from the storage, too.
    """

    starts: Annotated[int, Meta(gt=0, le=1000)] = 10
    drop_caches: bool = True


class Throughput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``instances`` processes that begin together and run for ``seconds``."""

    instances: Annotated[int, Meta(gt=0, le=64)] = 2
    seconds: Annotated[float, Meta(ge=0.1, le=600)] = 10.0


class Concurrent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pairs of processes, one with and one without a load beside it, in random order.

    The load is ``busy`` programs that only compute, ``memory`` programs that only write memory, and ``command``, a line for the
    device's sh. All there are, run together.
    """

    busy: _Threads = 1
    memory: _Threads = 0
    command: Annotated[str, Meta(max_length=10_000)] = ""
    pairs: Annotated[int, Meta(ge=2, le=100)] = 5

    def __post_init__(self) -> None:
        """Nothing is no load."""
        if not (self.busy or self.memory or self.command.strip()):
            raise ValueError("no load: `busy` and `memory` are 0 and there is no `command`")
        if "\0" in self.command:
            raise ValueError("a `command` has no NUL in it")
