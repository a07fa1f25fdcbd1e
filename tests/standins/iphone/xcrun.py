#!/usr/bin/python3 -IS
"""Stands in for ``xcrun devicectl``: a phone that is a folder. Written after what Apple documents and public projects saw.

It knows the commands that edgedeploy uses, refuses options that they do not have, and goes wrong as the file ``state.json``
beside the container says. Any Python 3.8 runs it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PHONE = HERE.parent / "phone"
CONTAINER = PHONE / "container"


class FailureError(Exception):
    """What devicectl says, with its domain and code."""

    def __init__(self, said: str, domain: str = "com.apple.dt.CoreDeviceError", code: int = 1) -> None:
        super().__init__(said)
        self.said, self.domain, self.code = said, domain, code


def parsed(words: list[str]) -> tuple[str, argparse.Namespace]:
    """The command, and its options."""
    size = 3 if words[0] == "device" else 2
    command, rest = " ".join(words[:size]), words[size:]
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--timeout", type=int, required=True)
    parser.add_argument("--json-output", required=True)
    if command != "list devices":
        parser.add_argument("--device", required=True)
    if command in ("device info files", "device copy to", "device copy from"):
        parser.add_argument("--domain-type", choices=["appDataContainer"], required=True)
        parser.add_argument("--domain-identifier", required=True)
    if command == "device info files":
        parser.add_argument("--subdirectory", default="")
    if command.startswith("device copy"):
        parser.add_argument("--source", required=True)
        parser.add_argument("--destination", required=True)
    if command == "device process launch":
        parser.add_argument("--console", action="store_true", required=True)
        parser.add_argument("--terminate-existing", action="store_true")
        parser.add_argument("app", nargs="+")
    return command, parser.parse_args(rest)


def state() -> dict:
    return json.loads((PHONE / "state.json").read_text())


def forget(key: str) -> None:
    """What went wrong does so once."""
    left = state()
    del left[key]
    (PHONE / "state.json").write_text(json.dumps(left))


def list_devices(_options: argparse.Namespace) -> dict:
    return {"devices": state()["devices"]}


def lock_state(_options: argparse.Namespace) -> dict:
    return {"passcodeRequired": state()["locked"]}


def info_apps(_options: argparse.Namespace) -> dict:
    return {"apps": [{"bundleIdentifier": name, "name": name.rpartition(".")[2]} for name in state()["apps"]]}


def require_container(options: argparse.Namespace) -> None:
    if options.domain_identifier not in state()["apps"]:
        raise FailureError(f"The application {options.domain_identifier} is not installed on the device.")


def info_files(options: argparse.Namespace) -> dict:
    require_container(options)
    if state()["locked"]:
        return {"files": []}  # no error: seen on an iPhone 15 Plus
    folder = CONTAINER / options.subdirectory
    listed = []
    for path in sorted(folder.rglob("*")):
        entry = {"name": path.name, "relativePath": str(path.relative_to(folder))}
        entry["resources"] = {"isDirectory": path.is_dir(), "isSymbolicLink": path.is_symlink()}
        entry["metadata"] = {"size": path.stat().st_size}
        listed.append(entry)
    return {"files": listed}


def copy_to(options: argparse.Namespace) -> dict:
    require_container(options)
    source, target = Path(options.source), CONTAINER / options.destination
    if target.is_file():
        theirs, ours = target.stat(), source.stat()
        if (theirs.st_size, int(theirs.st_mtime)) == (ours.st_size, int(ours.st_mtime)):
            return {}
    free = state().get("free_bytes")
    if free is not None and source.stat().st_size > free:
        raise FailureError("The file could not be written: No space left on device", "NSPOSIXErrorDomain", 28)
    target.parent.mkdir(parents=True, exist_ok=True)
    cut = state().get("cut")
    if cut is not None and cut["in"] in options.destination:
        target.write_bytes(source.read_bytes()[: cut["after_bytes"]])
        forget("cut")
        raise FailureError("The connection was interrupted.", "com.apple.Mercury.error", 1001)
    shutil.copy2(source, target)
    spoil = state().get("spoil")
    if spoil is not None and spoil in options.destination:
        content = target.read_bytes()
        target.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        forget("spoil")
    return {}


def copy_from(options: argparse.Namespace) -> dict:
    require_container(options)
    source = CONTAINER / options.source
    if not source.is_file():
        raise FailureError("The file could not be opened because there is no such file.", "NSCocoaErrorDomain", 260)
    shutil.copy2(source, options.destination)
    return {}


def launch(options: argparse.Namespace) -> dict:
    name, *arguments = options.app
    if name not in state()["apps"]:
        raise FailureError(f"The requested application {name} is not installed.", "FBSOpenApplicationServiceErrorDomain", 1)
    if state()["locked"]:
        raise FailureError(
            "Unable to launch because the device was not, or could not be, unlocked.", "FBSOpenApplicationErrorDomain", 7
        )
    print(f"Launched application with {name} bundle identifier.\nWaiting for the application to terminate…", flush=True)
    ended = subprocess.run([sys.executable, "-IS", str(HERE / "app.py"), *arguments], cwd=CONTAINER, check=False)
    if ended.returncode < 0:
        print(f"App terminated due to signal {-ended.returncode}.")
    if ended.returncode:
        sys.exit(1)
    return {"process": {"processIdentifier": os.getpid()}}


COMMANDS = {
    "list devices": list_devices,
    "device info lockState": lock_state,
    "device info apps": info_apps,
    "device info files": info_files,
    "device copy to": copy_to,
    "device copy from": copy_from,
    "device process launch": launch,
}


def main() -> int:
    """One command, and its document."""
    tool, *words = sys.argv[1:]
    if tool != "devicectl":
        print(f'xcrun: error: unable to find utility "{tool}", not a developer tool or in PATH', file=sys.stderr)
        return 72
    with (PHONE / "asked").open("a") as log:
        log.write(" ".join(words) + "\n")
    command, options = parsed(words)
    info = {"commandType": f"devicectl.{command.replace(' ', '.')}", "jsonVersion": 2}
    try:
        document = {"info": {**info, "outcome": "success"}, "result": COMMANDS[command](options)}
        code = 0
    except FailureError as failure:
        print(f"ERROR: {failure.said} ({failure.domain} error {failure.code})", file=sys.stderr)
        about = {"NSLocalizedDescription": {"string": failure.said}}
        error = {"code": failure.code, "domain": failure.domain, "userInfo": about}
        document = {"info": {**info, "outcome": "failed"}, "error": error}
        code = 1
    Path(options.json_output).write_text(json.dumps(document))
    return code


if __name__ == "__main__":
    sys.exit(main())
