"""The project file, as types."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from edgedeploy.domain.artifact import DType
from edgedeploy.domain.mode import Burst, Cold, Concurrent, Mode, Sustained, Throughput
from edgedeploy.domain.precision import AUTO, PRECISIONS
from edgedeploy.domain.recipe import Budget, Gate, Recipe
from edgedeploy.domain.target import (
    Cpu,
    EnergySeconds,
    FixedClockWish,
    Inputs,
    Iterations,
    Name,
    Pause,
    PositiveInt,
    Processes,
    Seconds,
    StartLoad,
    StartTemperature,
    Threads,
    WarmupIterations,
)


class InputConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An input of a model whose source gives none: seeded random values of this dtype and shape.

    Floats are standard normal; integers are uniform in ``[0, below)``.
    """

    dtype: DType = "float32"
    shape: tuple[PositiveInt, ...]
    below: PositiveInt = 2


class LanguageConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[models.NAME.language]``: how a language model is exported and measured.

    ``context_length`` is how many tokens the cache has room for; default: the model's own limit, at most 2048. Measured is a
    prompt of ``prompt_tokens``, answered by ``generate_tokens``. ``prompts`` are compared with PyTorch token by token;
    default: three sentences. ``perplexity_text`` is a UTF-8 file, relative to the project file, of which the first
    ``perplexity_tokens`` are scored; without one, perplexity is not measured.
    """

    context_length: Annotated[int, Meta(ge=2)] | None = None
    prompt_tokens: PositiveInt = 128
    generate_tokens: Annotated[int, Meta(ge=2)] = 32
    prompts: tuple[Annotated[str, Meta(min_length=1)], ...] = ()
    perplexity_text: str = ""
    perplexity_tokens: Annotated[int, Meta(ge=2)] = 2048


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[models.NAME]``.

    ``source`` is ``file.py:callable``, ``package.module:callable``, a ``.pt2`` file, or the folder of a Hugging Face language
    model (with a ``config.json``), relative to the project file. ``language`` is for such a folder only.
    ``files`` names further files the source depends on that Python itself does not open (native readers).
    """

    source: Annotated[str, Meta(min_length=1)]
    inputs: tuple[InputConfig, ...] = ()
    files: tuple[str, ...] = ()
    language: LanguageConfig | None = None


class MeasureOverride(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a deployment measures differently from its target's policy."""

    processes: Processes | None = None
    warmup_iterations: WarmupIterations | None = None
    warmup_seconds: Pause | None = None
    iterations: Iterations | None = None
    min_seconds: Pause | None = None
    max_seconds: Seconds | None = None
    threads: Threads | None = None
    cpus: tuple[Cpu, ...] | None = None
    cooldown_s: Pause | None = None
    inputs: Inputs | None = None
    start_wait_s: Pause | None = None
    start_temperature_c: StartTemperature | None = None
    start_load: StartLoad | None = None
    fixed_clock: FixedClockWish | None = None
    energy_s: EnergySeconds | None = None
    energy_command: str | None = None
    mode: Mode | None = None
    burst: Burst | None = None
    sustained: Sustained | None = None
    cold: Cold | None = None
    throughput: Throughput | None = None
    concurrent: Concurrent | None = None


class Deploy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[deploy]]``: this model, by these recipes, onto these targets.

    Without ``exporters`` a recipe takes the target's first lane of its precision; with it, one lane per exporter named
    (``"executorch"``, or with its backend ``"executorch-vulkan"``).
    """

    model: Name
    targets: Annotated[tuple[Name, ...], Meta(min_length=1)]
    recipes: Annotated[tuple[Name, ...], Meta(min_length=1)] = ("fp32",)
    exporters: tuple[Name, ...] = ()
    budget: Budget = Budget()
    gate: Gate = Gate()
    measure: MeasureOverride = MeasureOverride()


class Results(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[results]``: where measurements are kept. Without ``url``, an SQLite file in the user's state folder."""

    url: str = ""


BUILTIN_RECIPES = {name: Recipe(precision=name) for name in (*PRECISIONS, AUTO)}


KEEP_RELEASES = 3
RETRY_FOR_S = 120.0
"""For how long a device that went away is waited for, until it gets something done again: a phone reboots in less."""
FIRST_CONTACT_S = 4.0
"""For how long one that nobody has met yet: a server that restarts, a cable that was just plugged in."""


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """For how long to wait: for a device that somebody else has, for one that went away, and for one that was not met yet."""

    wait_s: float = 0
    retry_for_s: float = RETRY_FOR_S
    first_contact_s: float = 0

    @classmethod
    def asked(cls, *, wait_s: float, retry_for_s: float | None) -> Patience:
        """As the command line says: who gives a time, to have devices waited for, means those that are still starting, too."""
        if retry_for_s is None:
            return cls(wait_s=wait_s, first_contact_s=FIRST_CONTACT_S)
        return cls(wait_s=wait_s, retry_for_s=retry_for_s, first_contact_s=retry_for_s)


DEFAULT_PATIENCE = Patience()


class Project(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``edgedeploy.toml``. Every precision is a recipe of its own name without being written.

    ``signing_key`` is a private Ed25519 key, a path or ``env:NAME``: what is exported into a bundle or pushed is signed with it.
    ``keep_releases`` is how many releases stay on a device to go back to, the one that is current among them.
    """

    name: Name
    models: dict[Name, Model]
    deploy: tuple[Deploy, ...] = ()
    recipes: dict[Name, Recipe] = {}
    results: Results = Results()
    keep_releases: Annotated[int, Meta(ge=1)] = KEEP_RELEASES
    signing_key: str = ""


class LabDevice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[devices.NAME]`` of ``lab.toml``: one unit. ``serial`` for ADB, ``host`` for SSH (an alias of ~/.ssh/config works).

    An iPhone has its udid as ``serial``; ``host``, ``user`` and so on are those of the Mac that it hangs on, if that is not
    this machine.
    """

    target: Name
    transport: Name | None = None
    serial: str = ""
    host: str = ""
    user: str = ""
    port: Annotated[int, Meta(gt=0, lt=65536)] | None = None
    key: str = ""
    password: Annotated[str, Meta(pattern=r"^(env:[A-Za-z_][A-Za-z0-9_]*)?$")] = ""
    workdir: str = ""
    python: str = "python3"
    trusted_keys: tuple[str, ...] = ()


class Lab(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``lab.toml``: the devices on your desk. Not to be committed; secrets by reference only (``env:NAME``, a key path)."""

    devices: dict[Name, LabDevice] = {}
