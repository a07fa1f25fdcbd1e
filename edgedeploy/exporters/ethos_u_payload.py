"""What is in the data that ExecuTorch hands to its Ethos-U delegate: Vela's stream of named blocks."""

from __future__ import annotations

import struct

# As executorch/backends/arm/arm_vela.py writes it for the delegate's VelaBinStream.cpp.
_MAGIC = b"vela_bin_stream"
_HEADER = struct.Struct("<16sI12x")
_ALIGNMENT = 16


def block_sizes(payload: bytes) -> dict[str, int]:
    """Bytes that the NPU needs for its commands, weights and scratch memory; empty for a payload of another format."""
    if not payload.startswith(_MAGIC):
        return {}
    blocks = {}
    at = 0
    while at + _HEADER.size <= len(payload):
        name, size = _HEADER.unpack_from(payload, at)
        at += _HEADER.size
        blocks[name.rstrip(b"\0").decode("ascii")] = payload[at : at + size]
        at += -(-size // _ALIGNMENT) * _ALIGNMENT
    (scratch,) = struct.unpack("<I", blocks["scratch_size"])
    return {"commands": len(blocks["cmd_data"]), "weights": len(blocks["weight_data"]), "scratch": scratch}
