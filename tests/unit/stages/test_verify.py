"""What is advised where an export falls short of PyTorch."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from unit.stages.planned import FP32, INT8, planned, prepared, target

from edgedeploy.domain.measurement import Agreement, OutputAgreement, RuntimeAgreement
from edgedeploy.domain.result import Verification
from edgedeploy.domain.target import Lane
from edgedeploy.errors import VerifyError
from edgedeploy.stages.verify import require

OUTPUT = OutputAgreement(name="y", max_abs_error=0.1, cosine=0.9, sqnr_db=5.0, exact=False)
SHORT = Agreement(max_abs_error=0.1, cosine=0.9, sqnr_db=5.0, exact=False, outputs=(OUTPUT,))


def advice(folder: Path, lane: Lane, *weight_dtypes: str) -> str:
    made = prepared(folder, planned(lane=lane))
    made = msgspec.structs.replace(made, artifact=msgspec.structs.replace(made.artifact, weight_dtypes=weight_dtypes))
    found = Verification(host=SHORT, runtimes=(RuntimeAgreement(runtime="executorch-native", agreement=SHORT),))
    with pytest.raises(VerifyError) as caught:
        require(found, made, target())
    return caught.value.next_step


def test_weights_that_are_coarser_than_the_lane_come_first(tmp_path: Path) -> None:
    assert "module.float()" in advice(tmp_path, FP32, "bfloat16", "float32")
    assert "the conversion is wrong" in advice(tmp_path, FP32, "float32")
    assert "the conversion is wrong" in advice(tmp_path, FP32)


def test_else_the_next_safer_precision(tmp_path: Path) -> None:
    assert "executorch-xnnpack-int8-dynamic" in advice(tmp_path, INT8, "bfloat16")
