"""The C tests of runner/tests that need no engine, and what C and Python have to agree on."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from edgedeploy.errors import MissingToolError
from edgedeploy.host import host_abi
from edgedeploy.runners.build_tools import compiler_arguments, find_cmake, find_toolchain, run_tool
from edgedeploy.shipped import shipped
from edgedeploy.stats.steady import steady

pytestmark = pytest.mark.sdk

MS = 1_000_000
TESTS = ("json_text", "arguments", "generation", "operator_profile", "steady", "timed_loop")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the tests' programs."""
    folder = tmp_path_factory.mktemp("tests")
    try:
        cmake, toolchain = find_cmake(), find_toolchain(host_abi())  # type: ignore[arg-type]
    except MissingToolError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    configure = [cmake.program, "-S", str(shipped("runner")), "-B", str(folder), *cmake.generator]
    run_tool([*configure, *compiler_arguments(host_abi(), toolchain), "-DBUILD_LITERT_RUNNER=OFF"], what="C tests")  # type: ignore[arg-type]
    run_tool([cmake.program, "--build", str(folder), "--target", *(f"test_{name}" for name in TESTS)], what="C tests")
    return folder


@pytest.mark.parametrize("name", TESTS)
def test_c(built: Path, name: str) -> None:
    run_tool([str(built / f"test_{name}")], what=name)


def _latencies(rng: random.Random) -> list[int]:
    """A process that gets faster, or slower, or neither; smoothly, in a step, or with outliers."""
    level_ns = rng.choice([0.05, 2, 20, 200]) * MS
    fall, decay, spread = rng.uniform(-0.5, 2), rng.choice([0.8, 0.97, 1.0]), rng.choice([0, 0.004, 0.05, 0.3])
    step_at, step, outlier = rng.randrange(500), rng.choice([1.0, 1.0, 0.98, 0.5]), rng.choice([0, 0, 0.05])
    return [
        max(
            1,
            round(
                level_ns
                * (1 + fall * decay**index)
                * (step if index >= step_at else 1)
                * (5 if rng.random() < outlier else 1)
                * rng.gauss(1, spread)
            ),
        )
        for index in range(rng.randrange(1, 9000 if level_ns < MS else 500))
    ]


def test_c_and_python_agree_on_what_is_steady(built: Path, tmp_path: Path) -> None:
    rng = random.Random(11)
    sequences = [_latencies(rng) for _ in range(300)]
    lines = tmp_path / "sequences"
    lines.write_text("".join(" ".join(map(str, sequence)) + "\n" for sequence in sequences), encoding="ascii")
    said = run_tool([str(built / "test_steady"), str(lines)], what="steady").splitlines()
    seen = [steady(sequence) for sequence in sequences]
    assert said == [f"{one.since} {one.known}" if one else "never" for one in seen]
    assert 50 < said.count("never") < 250, "both answers occur"
