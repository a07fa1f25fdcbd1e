"""What an NPU needs, read from the data of ExecuTorch's Ethos-U delegate."""

from __future__ import annotations

import struct

from edgedeploy.exporters.ethos_u_payload import block_sizes


def stream(**blocks: bytes) -> bytes:
    """As the SDK writes it: a header of 32 bytes, then the block, padded to 16."""
    written = b""
    for name, content in blocks.items():
        written += struct.pack("<16sI12x", name[:15].encode(), len(content)) + content + bytes(-len(content) % 16)
    return written


def test_blocks_are_counted_without_their_padding() -> None:
    payload = stream(
        vela_bin_stream=b"",
        cmd_data=bytes(17),
        weight_data=b"",
        scratch_size=struct.pack("<I", 4096),
        inputs=bytes(40),
        outputs=bytes(40),
        vela_end_stream=b"",
    )
    assert block_sizes(payload) == {"commands": 17, "weights": 0, "scratch": 4096}


def test_other_payloads_say_nothing() -> None:
    assert block_sizes(b"XH00") == block_sizes(b"") == {}
