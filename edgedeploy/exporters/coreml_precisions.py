"""What each precision is in a Core ML package, and the oldest system that reads it. Needs no SDK."""

from __future__ import annotations

import msgspec

from edgedeploy.errors import ExportError

_DEFAULT_IOS = 17
_KNOWN_IOS = (15, 16, 17, 18, 26)  # coremltools.target of coremltools 9.0, without the systems before ML programs
_PREFIXES = {"ios": "iOS", "macos": "macOS"}
# macOS versions in iOS's count: the two carry one Core ML, and since 2025 one number.
_IOS_OF_MACOS = {12: 15, 13: 16, 14: 17, 15: 18}


class Scheme(msgspec.Struct, frozen=True, kw_only=True):
    """How a precision is made.

    ``half`` computes in float16, as the Neural Engine does; else in float32, on CPU and GPU only. ``first_ios`` is the
    first iOS that reads it. ``weight_floor_db`` is the least signal-to-noise ratio of one weight, read back from the
    package, that is not plainly a mistake: about half (in dB) of what normally distributed weights come out at.
    """

    half: bool
    first_ios: int
    described: str
    weight_floor_db: float


SCHEMES: dict[str, Scheme] = {
    "fp32": Scheme(half=False, first_ios=15, described="none", weight_floor_db=120.0),
    "fp16": Scheme(half=True, first_ios=15, described="none", weight_floor_db=50.0),
    "int8": Scheme(
        half=True, first_ios=17, described="int8 weights and activations, calibrated (symmetric)", weight_floor_db=20.0
    ),
    "int8-static": Scheme(
        half=True, first_ios=17, described="int8 weights and activations, calibrated (symmetric)", weight_floor_db=20.0
    ),
    "int8-weights": Scheme(
        half=True, first_ios=16, described="int8 weights (symmetric, per channel), float activations", weight_floor_db=20.0
    ),
    "int4-weights": Scheme(
        half=True, first_ios=18, described="int4 weights (symmetric, blocks of 32), float activations", weight_floor_db=8.0
    ),
    "palette4": Scheme(
        half=True, first_ios=16, described="weights from tables of 16 values (k-means), float activations", weight_floor_db=8.0
    ),
    "palette6": Scheme(
        half=True, first_ios=16, described="weights from tables of 64 values (k-means), float activations", weight_floor_db=14.0
    ),
    "sparse-int8": Scheme(
        half=True,
        first_ios=18,
        described="int8 weights (symmetric, per channel) without their zeros, float activations",
        weight_floor_db=20.0,
    ),
    "sparse-palette4": Scheme(
        half=True,
        first_ios=18,
        described="weights from tables of 16 values (k-means) without their zeros, float activations",
        weight_floor_db=8.0,
    ),
}
_STATES_FIRST_IOS = 18
_METHODS_FIRST_IOS = 18
GROUPED_TABLES_FIRST_IOS = 18
# What to use instead on an older system.
_OLDER = {"int4-weights": "palette4", "sparse-int8": "int8-weights", "sparse-palette4": "palette4"}


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """The oldest system a package has to run on; ``ios`` is its version, or that of the iOS with the same Core ML."""

    os: str
    version: str
    ios: int

    @property
    def target_name(self) -> str:
        """The system as coremltools calls it; for one newer than coremltools, the newest that it knows."""
        return f"iOS{max(known for known in _KNOWN_IOS if known <= self.ios)}"

    def described(self) -> str:
        """``"iOS 17, macOS 14 and newer"``."""
        return f"iOS {self.ios}, macOS {_macos(self.ios)} and newer"

    def require(self, first_ios: int, what: str, otherwise: str) -> None:
        """Refuse what needs a newer system.

        Raises:
            ExportError: naming the system, and what to do instead.
        """
        if self.ios >= first_ios:
            return
        prefix = _PREFIXES.get(self.os, "iOS")
        needed = _macos(first_ios) if self.os == "macos" else first_ios
        raise ExportError(
            f"{what} needs {prefix} {needed} or newer",
            where="min_os",
            seen=f"{prefix} {self.version or self.ios}",
            next_step=f'set min_os = "{needed}" in the target if no older system has to run it, or {otherwise}',
        )


def deployment(os: str, min_os: str) -> Deployment:
    """The system that a target's ``os`` and ``min_os`` mean; iOS 17 where nothing is said.

    Raises:
        ExportError: a ``min_os`` older than ML programs (iOS 15, macOS 12).
    """
    major_text = min_os.partition(".")[0]
    if os not in _PREFIXES or not major_text.isdigit():
        return Deployment(os=os, version="", ios=_DEFAULT_IOS)
    major = int(major_text)
    oldest = min(_IOS_OF_MACOS) if os == "macos" else min(_IOS_OF_MACOS.values())
    if major < oldest:
        raise ExportError(
            f"Core ML programs do not run on {_PREFIXES[os]} {min_os}",
            where="min_os",
            seen=min_os,
            next_step=f"ask for {_PREFIXES[os]} {oldest} or newer in the target",
        )
    if os == "ios":
        return Deployment(os=os, version=min_os, ios=major)
    newest = max(_IOS_OF_MACOS)
    return Deployment(os=os, version=min_os, ios=_IOS_OF_MACOS.get(major, max(major, _IOS_OF_MACOS[newest])))


def require_precision(system: Deployment, precision: str, *, instead: str = "") -> Scheme:
    """The scheme of a precision on a system that reads it; ``instead`` is what to take on an older one.

    Raises:
        ExportError: it is too old.
    """
    scheme = SCHEMES[precision]
    instead = instead or _OLDER.get(precision, "fp16")
    system.require(scheme.first_ios, f"Core ML at {precision}", f"choose precision {instead}")
    return scheme


def require_states(system: Deployment) -> None:
    """Refuse a model with state on a system without.

    Raises:
        ExportError: it is too old.
    """
    system.require(_STATES_FIRST_IOS, "a model with state", "pass the state in and out as inputs and outputs")


def require_methods(system: Deployment) -> None:
    """Refuse several methods on a system that reads one per package.

    Raises:
        ExportError: it is too old.
    """
    system.require(_METHODS_FIRST_IOS, "a package with several methods", "deploy each as a model of its own")


def _macos(ios: int) -> int:
    """The macOS with the Core ML of an iOS."""
    return next((macos for macos, one in _IOS_OF_MACOS.items() if one == ios), ios)
