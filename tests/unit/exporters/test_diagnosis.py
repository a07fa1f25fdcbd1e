"""From texts of the SDKs to lines of the user's code; no SDK needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedeploy.errors import ExportError
from edgedeploy.exporters.diagnosis import explain_trace, first_useful_line, innermost_line, line_in_message

# As torch 2.13 writes it into a node's metadata.
_STACK = """  File "/home/me/shop/model.py", line 12, in forward
    y = self.block(x)
  File "/home/me/shop/blocks/gate.py", line 7, in forward
    return torch.special.bessel_j0(x)
  File "/usr/lib/python3/site-packages/torch/nn/functional.py", line 99, in gelu
    return torch._C._nn.gelu(x)
"""


def test_the_innermost_line_of_the_user_wins() -> None:
    line = innermost_line(_STACK, "/home/me/shop")
    assert str(line) == "blocks/gate.py:7: `return torch.special.bessel_j0(x)`"


def test_without_user_code_the_innermost_outside_site_packages_wins() -> None:
    line = innermost_line(_STACK, "/somewhere/else")
    assert str(line) == "/home/me/shop/blocks/gate.py:7: `return torch.special.bessel_j0(x)`"


def test_a_virtual_environment_inside_the_project_is_not_the_users_code() -> None:
    stack = _STACK.replace("/usr/lib/python3", "/home/me/shop/.venv/lib/python3")
    assert str(innermost_line(stack, "/home/me/shop")).startswith("blocks/gate.py:7")


def test_a_frame_without_its_text_still_gives_the_place() -> None:
    assert str(innermost_line('  File "/a/model.py", line 3, in forward', "/a")) == "model.py:3"


@pytest.mark.parametrize("stack", ["", "no frames here", 'File "/x/site-packages/torch/f.py", line 1, in f\n    g()'])
def test_no_line_is_none(stack: str) -> None:
    assert innermost_line(stack, "/a") is None


def test_the_first_useful_line_is_bounded() -> None:
    assert first_useful_line(RuntimeError("\n  \n---\n Lowering not found: aten.x\nmore")) == "Lowering not found: aten.x"
    assert first_useful_line(KeyError()) == "KeyError"
    assert len(first_useful_line(ValueError("x" * 5000))) == 300


def test_an_error_without_a_line_of_the_user_says_what_was_seen() -> None:
    error = explain_trace(ValueError("odd"), sdk="ExecuTorch", user_root="/nowhere")
    assert isinstance(error, ExportError)
    assert (error.where, error.seen) == ("", "odd")
    assert error.next_step


def test_the_cause_of_a_cause_counts() -> None:
    class GuardOnDataDependentSymNode(Exception):  # noqa: N818  torch's own name
        pass

    try:
        try:
            raise GuardOnDataDependentSymNode("u0")
        except GuardOnDataDependentSymNode as inner:
            raise RuntimeError("wrapped") from inner
    except RuntimeError as outer:
        error = explain_trace(outer, sdk="coremltools", user_root="/nowhere")
    assert error.what == "coremltools cannot export control flow or a shape that depends on the data"


def test_a_line_that_only_announces_takes_the_next_with_it() -> None:
    error = RuntimeError("Failed to export flatbuffer:\n\n  'tfl.logical_xor' op is neither a custom op nor a flex op\n")
    assert first_useful_line(error) == "Failed to export flatbuffer: 'tfl.logical_xor' op is neither a custom op nor a flex op"
    assert first_useful_line(ValueError("These:")) == "These:"


def test_the_place_in_a_compilers_message_is_the_users_line(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("import torch\n\ny = x.argsort(-1)\n")
    message = f"Failed to run converter passes: {tmp_path}/model.py:3:0: error: comparator block argument #2 should be i32"
    assert str(line_in_message(message, str(tmp_path))) == "model.py:3: `y = x.argsort(-1)`"
    assert line_in_message("no place", str(tmp_path)) is None
    assert line_in_message(f"{tmp_path}/gone.py:3:0: error: odd", str(tmp_path)) is not None
