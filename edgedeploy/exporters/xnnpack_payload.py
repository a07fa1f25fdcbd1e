"""What is in the data that ExecuTorch hands to its XNNPACK delegate: the nodes of XNNPACK's own graph, in order."""

from __future__ import annotations

import functools
import re
import struct
from dataclasses import dataclass
from importlib import resources

from flatbuffers.number_types import Uint8Flags, Uint32Flags
from flatbuffers.table import Table

# A header, then a flatbuffer. Offsets as in executorch/backends/xnnpack/serialization/xnnpack_graph_serialize.py, numbers
# of fields as in runtime_schema.fbs beside it, where later versions may only add to the end.
_MAGIC = b"XH00"
_FLATBUFFER_PLACE = struct.Struct("<10xII")
_XNODES, _KIND, _DEBUG_HANDLE = 1, 0, 2
_UNION = re.compile(r"union XNodeUnion \{(?P<members>[^}]*)\}")


@dataclass(frozen=True, kw_only=True)
class XnnNode:
    """A node as XNNPACK is to define it. Nodes that the delegate added itself have a handle that no operator has."""

    kind: str
    debug_handle: int


def xnnpack_nodes(payload: bytes) -> tuple[XnnNode, ...]:
    """The nodes in the order in which XNNPACK defines and runs them; empty for a payload of another format."""
    if payload[4:8] != _MAGIC:
        return ()
    offset, size = _FLATBUFFER_PLACE.unpack_from(payload)
    content = payload[offset : offset + size]
    graph = Table(content, struct.unpack_from("<I", content)[0])
    kinds = _kinds()
    nodes = []
    for node in _tables(graph, _XNODES):
        kind = _number(node, _KIND, Uint8Flags)
        name = kinds[kind] if kind < len(kinds) else f"XNN{kind}"
        nodes.append(XnnNode(kind=name, debug_handle=_number(node, _DEBUG_HANDLE, Uint32Flags)))
    return tuple(nodes)


@functools.cache
def _kinds() -> tuple[str, ...]:
    """Names of the node kinds by their number, from the schema that the SDK itself serializes with."""
    schema = resources.files("executorch.backends.xnnpack.serialization").joinpath("runtime_schema.fbs").read_text("utf-8")
    found = _UNION.search(re.sub(r"//[^\n]*", "", schema))
    members = found["members"].split(",") if found else []
    return ("NONE", *(member.partition(":")[0].strip() for member in members if member.strip()))


def _field(table: Table, number: int) -> int:
    return int(table.Offset(4 + 2 * number))


def _number(table: Table, number: int, flags: type) -> int:
    at = _field(table, number)
    return int(table.Get(flags, table.Pos + at)) if at else 0


def _tables(table: Table, number: int) -> list[Table]:
    at = _field(table, number)
    if not at:
        return []
    start = table.Vector(at)
    return [Table(table.Bytes, table.Indirect(start + 4 * index)) for index in range(table.VectorLen(at))]
