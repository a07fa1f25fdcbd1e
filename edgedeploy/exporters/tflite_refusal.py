"""From LiteRT's refusal to run a file to the operator and to the user's line. Imports the SDK: load it when it is needed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from edgedeploy.errors import ExportError
from edgedeploy.exporters.diagnosis import first_useful_line, innermost_line
from edgedeploy.exporters.tflite_conversion import Origin
from edgedeploy.exporters.tflite_graph import read_graphs
from edgedeploy.exporters.tflite_operators import origin_of

# As ai-edge-litert 2.3.0 names the operator: it has no kernel, or the kernel refuses its inputs.
_NAMED = (
    re.compile(r"builtin opcode '(?P<operator>\w+)'"),
    re.compile(r"Node number \d+ \((?P<operator>\w+)\) failed"),
)


@contextmanager
def explained_engine(content: bytes, origins: Mapping[str, Origin], user_root: str) -> Iterator[None]:
    """Turn what the engine raises over a file inside the block into an ExportError with the operator and the user's line.

    The converter writes operators (StableHLO's sort, iota) that no engine has a kernel for.
    """
    try:
        yield
    except (ValueError, RuntimeError) as error:
        name = next((found["operator"] for pattern in _NAMED if (found := pattern.search(str(error)))), "")
        uses = [use for graph in read_graphs(content) for use in graph.operators if use.operator == name]
        origin = next((one for use in uses if (one := origin_of(use, origins)) is not None), None)
        line = innermost_line(origin.stack_trace, user_root) if origin and origin.stack_trace else None
        torch_name = f" ({origin.operator})" if origin and origin.operator.startswith("aten.") else ""
        raise ExportError(
            f"LiteRT cannot run operator {name}{torch_name}" if name else "LiteRT cannot run the file",
            where=str(line or ""),
            seen=first_useful_line(error),
            next_step="write it with other operators, compute it outside the model, or choose another lane",
        ) from error
