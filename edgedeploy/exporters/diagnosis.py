"""From an SDK's exception to the operator and to the line of the user's code that it comes from."""

from __future__ import annotations

import linecache
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgedeploy.domain.precision import FLOAT32_ADVICE
from edgedeploy.errors import EdgedeployError, ExportError

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import Node

_SEEN_LIMIT = 300

# Every way in which the SDKs name the operator they stumble over. Seen in the messages of torch 2.13, executorch 1.5.1,
# litert-torch 0.10.0 and coremltools 9.0.
_OPERATOR = re.compile(
    r"\b(?:torch\.)?(?:_?ops\.)?(?P<ns>aten|prims|torchvision|higher_order)(?:\.|::)(?P<op>\w+)(?:\.(?P<overload>\w+))?"
)
_NODE_NAMES = (
    re.compile(r"While executing %(?P<node>\w+) :"),
    re.compile(r"Unsupported fx node (?P<node>\w+), kind \w+"),
    re.compile(r"node (?P<node>\w+) \(\w+\) got \d+ input"),
    re.compile(r"[Cc]onverting '(?P<node>\w+)' op"),
    re.compile(r"\(located at: '(?P<node>\w+)'\)"),
)
_PLACE = re.compile(r"(?P<file>/[^:\s]+\.py):(?P<line>\d+):\d+: error:")
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in [^\n]*(?:\n[ \t]+(?P<code>[^\n]+))?')

# torch.export's exceptions for a value that is only known when the model runs, by class name: their modules move about.
_DATA_DEPENDENT = {
    "GuardOnDataDependentSymNode",
    "UserError",
    "PendingUnbackedSymbolNotFound",
    "DynamicOutputShapeException",
    "DataDependentOutputException",
}


@dataclass(frozen=True)
class SourceLine:
    """A line of Python: the file as it is to be shown, its number, and its text (may be empty)."""

    file: str
    line: int
    code: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" + (f": `{self.code}`" if self.code else "")


@contextmanager
def explained_trace(sdk: str, user_root: str) -> Iterator[None]:
    """Turn what ``torch.export`` raises inside the block into an ExportError with the user's line."""
    try:
        yield
    except EdgedeployError:
        raise
    except Exception as error:
        raise explain_trace(error, sdk=sdk, user_root=user_root) from error


@contextmanager
def explained(sdk: str, user_root: str, program: ExportedProgram) -> Iterator[None]:
    """Turn what an SDK raises inside the block into an ExportError with the operator and the user's line."""
    try:
        yield
    except EdgedeployError:
        raise
    except Exception as error:
        raise explain(error, sdk=sdk, user_root=user_root, program=program) from error


def explain_trace(error: Exception, *, sdk: str, user_root: str) -> ExportError:
    """The ExportError for an exception of ``torch.export``."""
    line = next((found for one in _chain(error) if (found := _line_of_traceback(one, user_root))), None)
    data_dependent = any(type(one).__name__ in _DATA_DEPENDENT for one in _chain(error))
    if data_dependent:
        what = f"{sdk} cannot export control flow or a shape that depends on the data"
        next_step = "write the branch with torch.where, or move it out of forward; keep shapes constant"
    else:
        what = "torch.export cannot trace the model"
        next_step = "keep forward to PyTorch operators on tensors; do the rest before or after the model"
    return ExportError(what, where=str(line or ""), seen=first_useful_line(error), next_step=next_step)


def explain(error: Exception, *, sdk: str, user_root: str, program: ExportedProgram) -> ExportError:
    """The ExportError for an exception of an SDK that was given ``program``."""
    operator, line = "", None
    for one in _chain(error):
        operator, line = _locate(str(one), program, user_root)
        line = line or line_in_message(str(one), user_root)
        if operator:
            break
    if not operator and (odd := _odd_weight(program)):
        name, dtype = odd
        return ExportError(
            f"{sdk} cannot export weights in {dtype}",
            where=name,
            seen=first_useful_line(error),
            next_step=FLOAT32_ADVICE,
        )
    return ExportError(
        f"{sdk} cannot export operator {operator}" if operator else f"{sdk} cannot export the model",
        where=str(line or ""),
        seen=first_useful_line(error),
        next_step=unsupported_next_step(sdk) if operator else "try another lane, or export the model in parts",
    )


def _odd_weight(program: ExportedProgram) -> tuple[str, str] | None:
    """The first weight in floats of another width than 32 bits, with its dtype."""
    for name, weight in program.named_parameters():
        dtype = str(weight.dtype).removeprefix("torch.")
        if dtype in {"bfloat16", "float16", "float64"}:
            return name.removeprefix("inner."), dtype
    return None


def unsupported_next_step(sdk: str) -> str:
    """What to do about an operator that ``sdk`` does not have."""
    return f"write it with operators that {sdk} has, compute it outside the model, or choose another lane"


def find_line(operator: str, program: ExportedProgram, user_root: str) -> SourceLine | None:
    """The user's line behind the first node that is ``operator`` (``aten.name``, with or without overload)."""
    for node in _nodes(program):
        if _is_operator(node, operator):
            return _line_of_node(node, user_root)
    return None


def first_useful_line(error: BaseException) -> str:
    """The first line with words in it of an exception's message, at most 300 characters; the class if there is none.

    One that ends in a colon announces the next, which comes with it.
    """
    lines = [stripped for text in str(error).splitlines() if re.search(r"\w{2}", stripped := text.strip())]
    if not lines:
        return type(error).__name__
    useful = " ".join(lines[: 2 if lines[0].endswith(":") else 1])
    return useful if len(useful) <= _SEEN_LIMIT else useful[: _SEEN_LIMIT - 1] + "…"


def line_in_message(message: str, user_root: str) -> SourceLine | None:
    """The user's line that a compiler's message begins with (``model.py:3:0: error: …``)."""
    for found in _PLACE.finditer(message):
        if _below(found["file"], user_root):
            number = int(found["line"])
            return _shown(SourceLine(found["file"], number, linecache.getline(found["file"], number).strip()), user_root)
    return None


def innermost_line(stack_trace: str, user_root: str) -> SourceLine | None:
    """The innermost frame of a node's ``stack_trace`` in the user's folder, else outside site-packages."""
    frames = [
        SourceLine(found["file"], int(found["line"]), (found["code"] or "").strip()) for found in _FRAME.finditer(stack_trace)
    ]
    return _choose(frames, user_root)


def _locate(message: str, program: ExportedProgram, user_root: str) -> tuple[str, SourceLine | None]:
    """The operator a message names, with its line; ("", None) if it names none."""
    for pattern in _NODE_NAMES:
        if found := pattern.search(message):
            node = next((n for n in _nodes(program) if n.name == found["node"]), None)
            if node is not None:
                return _operator_of(node), _line_of_node(node, user_root)
    mentioned = [_spelled(found) for found in _OPERATOR.finditer(message)]
    for operator in mentioned:
        if line := find_line(operator, program, user_root):
            return operator, line
    # An operator that only the SDK's own decompositions know; the message may hold the trace of the node.
    return (mentioned[0], innermost_line(message, user_root)) if mentioned else ("", None)


def _spelled(found: re.Match[str]) -> str:
    overload = found["overload"]
    return f"{found['ns']}.{found['op']}" + (f".{overload}" if overload else "")


def _nodes(program: ExportedProgram) -> Iterator[Node]:
    """The call nodes of a program, then those of its decomposition: SDKs complain about either."""
    yield from (node for node in program.graph.nodes if node.op == "call_function")
    try:
        decomposed = program.run_decompositions()
    except Exception:  # noqa: BLE001  a diagnosis must not fail: without the decomposition there is less to say
        return
    yield from (node for node in decomposed.graph.nodes if node.op == "call_function")


def _operator_of(node: Node) -> str:
    return str(node.target)


def _is_operator(node: Node, operator: str) -> bool:
    target = _operator_of(node)
    return target == operator or target.rpartition(".")[0] == operator


def _line_of_node(node: Node, user_root: str) -> SourceLine | None:
    stack_trace = node.meta.get("stack_trace")
    return innermost_line(stack_trace, user_root) if isinstance(stack_trace, str) else None


def _line_of_traceback(error: BaseException, user_root: str) -> SourceLine | None:
    frames = [
        SourceLine(frame.filename, frame.lineno or 0, (frame.line or "").strip())
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    return _choose([frame for frame in frames if _below(frame.file, user_root)], user_root)


def _choose(frames: list[SourceLine], user_root: str) -> SourceLine | None:
    of_user = [frame for frame in frames if _below(frame.file, user_root)]
    outside = [frame for frame in frames if "site-packages" not in frame.file and not _is_package_file(Path(frame.file))]
    chosen = (of_user or outside)[-1:]
    return _shown(chosen[0], user_root) if chosen else None


def _below(file: str, folder: str) -> bool:
    path = Path(file)
    return "site-packages" not in path.parts and not _is_package_file(path) and path.is_relative_to(folder)


def _is_package_file(path: Path) -> bool:
    """Whether a file is edgedeploy's own: the checkout may lie inside the user's folder."""
    return path.is_relative_to(Path(__file__).parents[1])


def _shown(line: SourceLine, user_root: str) -> SourceLine:
    path = Path(line.file)
    file = path.relative_to(user_root).as_posix() if path.is_relative_to(user_root) else line.file
    return SourceLine(file, line.line, line.code)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, then what caused it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
