"""A phone behind a machine that is reached over SSH, and has no Xcode. (With one: nobody has tried it.)"""

from __future__ import annotations

import msgspec
import pytest
from integration.transports.rig import board_device
from standins.board import SshBoard

from edgedeploy.errors import MissingToolError
from edgedeploy.transports.devicectl import DevicectlTransport


def test_a_machine_without_xcode(trusted_board: SshBoard) -> None:
    board = board_device(trusted_board)
    phone = msgspec.structs.replace(
        board, name="phone", transport="devicectl", address="00008120-000A000000000001", through=board.address
    )
    with pytest.raises(MissingToolError, match="devicectl is not installed") as caught:
        DevicectlTransport().connect(phone)
    assert caught.value.where == f"the Mac {trusted_board.host}"
    assert "xcode-select" in caught.value.seen
    assert DevicectlTransport().state(phone).state == "unreachable"
