"""An iPhone that is a folder, on a Mac that is a folder of programs (`xcrun.py`, `app.py` beside this say what is real in them)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

UDID = "00008120-000A000000000001"
APP = "com.example.edgedeploy-runner"
FILES = "Documents/edgedeploy"


class Iphone:
    """Puts both into ``base``: programs into ``bin``, the phone into ``phone``."""

    def __init__(self, base: Path) -> None:
        self.programs = base / "bin"
        self._phone = base / "phone"
        self.programs.mkdir(parents=True)
        (self._phone / "container/Documents").mkdir(parents=True)
        here = Path(__file__).parent
        shutil.copy(here / "app.py", self.programs / "app.py")
        shutil.copy(here / "xcrun.py", self.programs / "xcrun")
        select = self.programs / "xcode-select"
        select.write_text("#!/bin/sh\necho /Applications/Xcode.app/Contents/Developer\n", encoding="ascii")
        for tool in ("xcrun", "xcode-select"):
            (self.programs / tool).chmod(0o755)
        self._state = {
            "locked": False,
            "apps": ["com.example.other", APP],
            "devices": [
                {
                    "identifier": "A1B2C3D4-0000-0000-0000-000000000001",
                    "connectionProperties": {"pairingState": "paired", "tunnelState": "disconnected"},
                    "deviceProperties": {"name": "Desk", "osVersionNumber": "17.6.1", "bootState": "booted"},
                    "hardwareProperties": {"platform": "iOS", "reality": "physical", "marketingName": "iPhone 15", "udid": UDID},
                }
            ],
        }
        self.change()
        for path in (self._phone, *self._phone.rglob("*")):  # the Mac's user may be another one than ours
            path.chmod(0o777)

    @property
    def files(self) -> Path:
        """Where everything of ours lies on the phone."""
        return self._phone / "container" / FILES

    def names(self) -> set[str]:
        """Of every file there."""
        return {str(path.relative_to(self.files)) for path in self.files.rglob("*") if path.is_file()}

    def change(self, **state: object) -> None:
        """What is so from now on: ``locked``, ``apps``, ``free_bytes``, ``crashes``, ``hangs``.

        Or what happens once: ``cut``, a copy that stops ``after_bytes`` (``in`` is part of its name); ``spoil``, part of the name of
        a file that arrives as another one.
        """
        once = {key: state.pop(key) for key in ("cut", "spoil") if key in state}
        self._state |= state
        (self._phone / "state.json").write_text(json.dumps({**self._state, **once}), encoding="utf-8")

    @property
    def hung(self) -> int:
        """The process of an app that hangs, or did."""
        return int((self._phone / "hung").read_text(encoding="ascii"))

    @property
    def pending(self) -> set[str]:
        """What was to happen once and has not."""
        return {"cut", "spoil"} & json.loads((self._phone / "state.json").read_text(encoding="utf-8")).keys()

    @property
    def asked(self) -> list[str]:
        """The commands so far."""
        return (self._phone / "asked").read_text(encoding="utf-8").splitlines()
