"""The target files that come with edgedeploy: they decode, agree with their names, and cite their facts."""

from __future__ import annotations

import datetime as dt
import itertools
import tomllib
from pathlib import Path

import msgspec
import pytest

from edgedeploy.config.targets import problems
from edgedeploy.domain.target import Soc, Source, Target
from edgedeploy.stages.plan import lanes_of

FOLDER = Path(__file__).resolve().parents[2] / "targets"
FILES = sorted(FOLDER.glob("*.toml"))
PROMISED = {
    "frdm-imx93",
    "galaxy-s24",
    "iphone15",
    "iphone16",
    "jetson-orin-nano",
    "linux-x86_64",
    "mac-m-series",
    "oneplus12",
    "pixel8",
    "pixel9",
    "raspberry-pi-4",
    "raspberry-pi-5",
    "raspberry-pi-zero2w",
    "this-machine",
}
# Abi by operating system: a file that mixes them up would push a program that cannot start.
ABIS = {
    "android": {"android-arm64"},
    "linux": {"linux-aarch64", "linux-x86_64"},
    "macos": {"macos-arm64"},
    "ios": {"ios-arm64"},
    "host": {"host"},
}


def load(file: Path) -> Target:
    with file.open("rb") as stream:
        return msgspec.convert(tomllib.load(stream), Target, strict=False)


def facts_of(target: Target) -> set[str]:
    """Keys that say something about the hardware or its system, and so need a source."""
    unset = Soc()
    facts = {f"soc.{key}" for key in Soc.__struct_fields__ if getattr(target.soc, key) != getattr(unset, key)}
    facts |= {f"soc.cores.{rate}" for group in target.soc.cores for rate in group.rates()}
    facts |= {f"match.{name}" for name in target.match}
    facts |= {"ethos_u"} if target.ethos_u else set()
    return facts | ({"min_os"} if target.min_os else set())


def can_be_confused(one: Target, other: Target) -> bool:
    """Whether some phone would be recognised as either: no property that both name tells them apart."""
    shared = one.match.keys() & other.match.keys()
    return all(set(one.match[name]) & set(other.match[name]) for name in shared)


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def file(request: pytest.FixtureRequest) -> Path:
    path = request.param
    assert isinstance(path, Path)
    return path


@pytest.fixture
def target(file: Path) -> Target:
    return load(file)


def test_every_promised_target_is_there() -> None:
    assert {file.stem for file in FILES} >= PROMISED


def test_the_name_is_that_of_the_file(file: Path, target: Target) -> None:
    assert target.name == file.stem


def test_the_reader_finds_no_problem(target: Target) -> None:
    assert list(problems(target)) == []


def test_every_fact_has_a_source(target: Target) -> None:
    assert facts_of(target) - target.sources.keys() == set()


def test_no_source_is_left_over(target: Target) -> None:
    assert target.sources.keys() - facts_of(target) - {"measure.cpus"} == set()


def test_nothing_claims_a_check_that_has_not_happened_yet(target: Target) -> None:
    today = dt.datetime.now(tz=dt.UTC).date()
    assert [key for key, source in target.sources.items() if source.verified and source.verified > today] == []


def test_lanes_are_unique_and_exist(target: Target) -> None:
    ids = [lane.id for lane in lanes_of(target)]
    assert ids
    assert len(set(ids)) == len(ids)


def test_measured_cpus_are_unique_and_exist(target: Target) -> None:
    cpus = target.measure.cpus
    assert len(set(cpus)) == len(cpus)
    cores = sum(group.count for group in target.soc.cores)
    assert all(cpu < cores for cpu in cpus) or not cores


def test_pinned_cpus_have_a_source_and_one_thread_each(target: Target) -> None:
    if target.measure.cpus:
        assert "measure.cpus" in target.sources
        assert target.measure.threads == len(target.measure.cpus)


def test_threads_fit_the_cores(target: Target) -> None:
    cores = sum(group.count for group in target.soc.cores)
    assert target.measure.threads <= cores or not cores


def test_os_and_abi_fit(target: Target) -> None:
    assert target.abi in ABIS[target.os]


def test_phones_are_recognised_and_only_phones(target: Target) -> None:
    assert bool(target.match) == (target.os == "android")


def test_no_two_targets_match_the_same_phone() -> None:
    phones = [target for target in map(load, FILES) if target.match]
    pairs = itertools.combinations(phones, 2)
    assert [(one.name, other.name) for one, other in pairs if can_be_confused(one, other)] == []


def test_a_clash_would_be_seen() -> None:
    pixel8, pixel9 = load(FOLDER / "pixel8.toml"), load(FOLDER / "pixel9.toml")
    by_model = msgspec.structs.replace(pixel9, match={"ro.product.model": ("Pixel 9",)})
    assert can_be_confused(pixel8, pixel8)
    assert can_be_confused(pixel8, by_model)
    assert not can_be_confused(pixel8, pixel9)


def test_a_missing_source_would_be_seen() -> None:
    pixel = load(FOLDER / "pixel8.toml")
    assert "soc.name" in facts_of(pixel) - msgspec.structs.replace(pixel, sources={}).sources.keys()


def test_a_file_with_an_unknown_key_does_not_decode() -> None:
    data = tomllib.loads((FOLDER / "pixel8.toml").read_text(encoding="utf-8"))
    with pytest.raises(msgspec.ValidationError, match="unknown field `sok`"):
        msgspec.convert(data | {"sok": {}}, Target, strict=False)


def test_an_origin_cannot_be_empty() -> None:
    with pytest.raises(msgspec.ValidationError, match="origin"):
        msgspec.convert({"origin": ""}, Source)
