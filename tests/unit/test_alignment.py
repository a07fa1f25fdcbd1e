"""Operators in XNNPACK's words beside the same in another's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedeploy.alignment import aligned, likeness

RUNS_AS = {
    "XNNFullyConnected": "Fully Connected (NC, F32) GEMM #1",
    "XNNAdd": "Add (ND) #7",
    "XNNStaticReshape": "Static Reshape (NC)",
    "XNNSoftmax": "Softmax (NC, F32) #2",
    "XNNHardswish": "HardSwish (NC) #1",
}


@pytest.mark.parametrize(
    ("node", "ran", "alike"),
    [
        ("XNNConv2d", "Convolution (NHWC, F32) IGEMM #3", 2),
        ("XNNConv2d", "Fully Connected (NC, QS8, QC8W) GEMM #1", 2),
        ("DEPTHWISE_CONV_2D", "Convolution (NHWC, QC8) DWConv", 2),
        ("XNNDepthwiseConv2d", "Fully Connected (NC, F32) GEMM", 0),
        ("LOGISTIC", "Sigmoid (NC)", 2),
        ("XNNStaticTranspose", "Transpose (ND, X32) #2", 2),
        ("TRANSPOSE", "Transpose (ND, X32) Transpose", 2),
        ("XNNHardswish", "Invalid Unary Op #1", 2),
        ("XNNConvert", "Invalid Unary Op #1", 1),
        ("XNNAdd", "Invalid Unary Op #1", 0),
        ("BATCH_MATMUL", "Batch Matrix Multiply (NC, F32) GEMM", 2),
        ("BATCH_MATMUL", "Fully Connected (NC, F32) GEMM", 1),
        ("XNNAdd", "Multiply (ND)", 0),
    ],
)
def test_likeness(node: str, ran: str, alike: int) -> None:
    assert likeness(node, ran) == alike


def test_what_was_fused_and_what_was_added_is_left_out() -> None:
    nodes = ["XNNConv2d", "XNNClamp", "XNNConv2d", "XNNAdd"]
    ran = ["Transpose (ND, X32) #1", "Convolution (NHWC) #1", "Fully Connected (NC) #1", "Add (ND) #1", "Transpose (ND, X32) #2"]
    assert aligned(nodes, ran) == {1: 0, 2: 2, 3: 3}


def test_a_table_is_the_operator_and_not_the_conversions_around_it() -> None:
    nodes = ["XNNDepthwiseConv2d", "XNNConvert", "XNNHardswish", "XNNConvert", "XNNAdd"]
    assert aligned(nodes, ["Convolution (NHWC, QC8) DWConv #1", "Invalid Unary Op #1", "Add (ND) #1"]) == {0: 0, 1: 2, 2: 4}


def test_a_node_in_parts_has_all_of_them() -> None:
    nodes = ["XNNConcatenate3", "XNNStaticReshape"]
    assert aligned(nodes, ["Copy (NC, X32) #1", "Copy (NC, X32) #2", "Copy (NC, X32) #3", "Static Reshape (NC)"]) == {
        0: 0,
        1: 0,
        2: 0,
        3: 1,
    }


def test_what_ran_before_its_turn_is_found() -> None:
    """TFLite: the last operator needs only the first one, and is taken into the delegate's first call."""
    nodes = ["CONV_2D", "SOFTMAX", "FULLY_CONNECTED", "MEAN"]
    ran = ["Convolution (NHWC) IGEMM", "Mean (ND) Reduce2", "Softmax (NC)", "Static Reshape (NC)", "Fully Connected (NC)"]
    assert aligned(nodes, ran) == {0: 0, 1: 3, 2: 1, 4: 2}


@given(st.lists(st.tuples(st.sampled_from(sorted(RUNS_AS)), st.booleans(), st.booleans()), max_size=40))
def test_matches_are_alike_and_no_node_is_used_twice(plan: list[tuple[str, bool, bool]]) -> None:
    """Each node runs or is fused; before it, the engine may add something that is no node."""
    nodes = [kind for kind, _, _ in plan]
    ran = [name for kind, runs, added in plan for name in ["Transpose (ND)"] * added + [RUNS_AS[kind]] * runs]
    matches = aligned(nodes, ran)
    assert all(likeness(nodes[node], ran[at]) for at, node in matches.items())
    assert len(set(matches.values())) == len(matches)
    left_over = [name for at, name in enumerate(ran) if at not in matches]
    assert left_over == ["Transpose (ND)"] * len(left_over), "nothing but what was added"


def test_long_lists_take_no_time() -> None:
    nodes = sorted(RUNS_AS) * 1000
    ran = [RUNS_AS[kind] for at, kind in enumerate(nodes) if at % 50]
    assert len(aligned(nodes, ran)) == len(ran)


def test_empty_lists() -> None:
    assert aligned([], []) == {}
    assert aligned(["XNNAdd"], []) == {}
    assert aligned([], ["Add (ND)"]) == {}
