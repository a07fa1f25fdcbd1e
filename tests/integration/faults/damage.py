"""What can be damaged on a device, one thing at a time: each has to be found, explained, and healed by the next push."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from integration.faults.autopsy import Autopsy
from integration.faults.situations import PROJECT, Bench, Situation, flip

_HOME = Path("projects") / PROJECT
_LARGE = "models/large/fp32/executorch-xnnpack-fp32/model.pte"


@dataclass(frozen=True, kw_only=True)
class Damage:
    """``do`` damages a store in which ``situation`` may begin; ``said`` is in a note of the push that heals it, where one is due."""

    name: str
    situation: str
    do: Callable[[Path, Situation], None]
    said: str = ""


def _blob(store: Path, situation: Situation) -> Path:
    """The large file of the active release."""
    assert situation.old is not None
    return max((store / "blobs" / sha for sha in situation.old.values()), key=lambda path: path.stat().st_size)


def _active(store: Path) -> Path:
    """The folder of the active release."""
    return store / _HOME / (store / _HOME / "current").readlink()


def _part(store: Path, situation: Situation) -> Path:
    """Where the large file of the new release is received."""
    old = set(situation.old.values()) if situation.old else set()
    (sha,) = {sha for path, sha in situation.new.items() if path.endswith("model.pte") and "large" in path} - old
    return store / "incoming" / f"{sha}.part"


def _cut_short(store: Path, situation: Situation) -> None:
    os.truncate(_blob(store, situation), 1000)


def _emptied(store: Path, situation: Situation) -> None:
    os.truncate(_blob(store, situation), 0)


def _removed(store: Path, situation: Situation) -> None:
    _blob(store, situation).unlink()


def _folder_for_blob(store: Path, situation: Situation) -> None:
    blob = _blob(store, situation)
    blob.unlink()
    blob.mkdir()
    (blob / "something").touch()


def _garbage_part(store: Path, situation: Situation) -> None:
    part = _part(store, situation)
    part.write_bytes(os.urandom(part.stat().st_size))


def _part_too_long(store: Path, situation: Situation) -> None:
    with _part(store, situation).open("ab") as file:
        file.write(bytes(8 << 20))


def _part_is_a_link(store: Path, situation: Situation) -> None:
    part = _part(store, situation)
    part.unlink()
    part.symlink_to("../blobs/" + _blob(store, situation).name)


def _part_is_a_folder(store: Path, situation: Situation) -> None:
    part = _part(store, situation)
    part.unlink()
    (part / "inside").mkdir(parents=True)


def _whole_is_a_folder(store: Path, situation: Situation) -> None:
    (_part(store, situation).with_suffix(".whole") / "inside").mkdir(parents=True)


def _manifest(change: Callable[[dict], object]) -> Callable[[Path, Situation], None]:
    def do(store: Path, situation: Situation) -> None:
        path = _active(store) / "manifest.json"
        document = json.loads(path.read_bytes())
        changed = change(document)
        path.write_text(changed if isinstance(changed, str) else json.dumps(document), encoding="utf-8")

    return do


def _escaping(document: dict) -> None:
    document["files"][0]["path"] = "../../../../escaped"


def _no_manifest(store: Path, situation: Situation) -> None:
    (_active(store) / "manifest.json").unlink()


def _lease(text: str) -> Callable[[Path, Situation], None]:
    def do(store: Path, situation: Situation) -> None:
        (store / "leases" / "7").symlink_to(text)

    return do


def _lease_is_a_file(store: Path, situation: Situation) -> None:
    (store / "leases" / "7").write_bytes(os.urandom(100))


def _lease_is_a_folder(store: Path, situation: Situation) -> None:
    (store / "leases" / "7" / "inside").mkdir(parents=True)


def _leases_is_a_file(store: Path, situation: Situation) -> None:
    for link in (store / "leases").iterdir():
        link.unlink()
    (store / "leases").rmdir()
    (store / "leases").touch()


def _current(text: str) -> Callable[[Path, Situation], None]:
    def do(store: Path, situation: Situation) -> None:
        (store / _HOME / "current").unlink()
        (store / _HOME / "current").symlink_to(text)

    return do


def _current_is_a_folder(store: Path, situation: Situation) -> None:
    (store / _HOME / "current").unlink()
    (store / _HOME / "current" / "inside").mkdir(parents=True)


def _no_current(store: Path, situation: Situation) -> None:
    (store / _HOME / "current").unlink()


def _link_removed(store: Path, situation: Situation) -> None:
    release = _active(store)
    (release / _LARGE).unlink()


def _link_elsewhere(store: Path, situation: Situation) -> None:
    release = _active(store)
    link = release / _LARGE
    link.unlink()
    link.symlink_to((release / _LARGE.replace("large", "small")).readlink())


def _tool(content: bytes | None) -> Callable[[Path, Situation], None]:
    def do(store: Path, situation: Situation) -> None:
        (tool,) = (store / "tools").iterdir()
        mode = tool.stat().st_mode
        tool.chmod(0o755)
        if content is None:
            os.truncate(tool, 4096)
        else:
            tool.write_bytes(content)
        tool.chmod(mode)

    return do


def _foreign_tool(store: Path, situation: Situation) -> None:
    (store / "tools" / "garbage").write_bytes(b"garbage")


FIRST, CHANGED, SAME = "first push", "a new version, by its changes", "nothing changed"
CUT, HELPED = "another model, cut before", "a new version, with helper"

DAMAGES = (
    Damage(name="a bit of a blob turned, which is run", situation=SAME, do=lambda s, of: flip(_blob(s, of)), said="damaged"),
    Damage(name="a bit of a blob turned, which changes are taken from", situation=CHANGED, do=lambda s, of: flip(_blob(s, of)), said="damaged"),
    Damage(name="a bit turned, found by the helper", situation=HELPED, do=lambda s, of: flip(_blob(s, of))),
    *(Damage(name=f"a blob was {what}", situation=where, do=do, said=said)
      for where in (SAME, CHANGED)
      for what, do, said in (
          ("cut short", _cut_short, "damaged" if where == SAME else ""),
          ("emptied", _emptied, "damaged" if where == SAME else ""),
          ("removed", _removed, ""),
          ("made a folder", _folder_for_blob, ""),
      )),
    Damage(name="a part is garbage", situation=CUT, do=_garbage_part),
    Damage(name="a part is longer than the file", situation=CUT, do=_part_too_long),
    Damage(name="a part is a link", situation=CUT, do=_part_is_a_link),
    Damage(name="a part is a folder", situation=CUT, do=_part_is_a_folder),
    Damage(name="a folder is where changes are put together", situation=CHANGED, do=_whole_is_a_folder),
    *(Damage(name=f"the manifest {what}", situation=where, do=_manifest(change), said=said)
      for where in (SAME, CHANGED)
      for what, change, said in (
          ("is garbage", lambda _: "\0{garbage", "cannot be read"),
          ("is empty", lambda _: "", "cannot be read"),
          ("leads out of the release", _escaping, "cannot be read"),
          ("is another project's", lambda of: of.update(project="other"), "cannot be read"),
          ("has another schema", lambda of: of.update(schema="edgedeploy.release/99"), ""),
          ("lacks a file", lambda of: of["files"].pop(), ""),
      )),
    Damage(name="the manifest is gone", situation=SAME, do=_no_manifest, said="cannot be read"),
    *(Damage(name=f"the lease {what}", situation=SAME, do=_lease(text))
      for what, text in (
          ("is garbage", "garbage"),
          ("has no end", f"x {10**17} 60 token {{}}"),
          ("is longer than it says", "x 99999 60 token {}"),
          ("has words of a shell", "$(reboot) `reboot` * ? ; reboot"),
      )),
    Damage(name="the lease is a file", situation=SAME, do=_lease_is_a_file),
    Damage(name="the lease is a folder", situation=SAME, do=_lease_is_a_folder),
    Damage(name="the leases' folder is a file", situation=SAME, do=_leases_is_a_file),
    *(Damage(name=f"current {what}", situation=where, do=do, said=said)
      for where in (SAME, CHANGED)
      for what, do, said in (
          ("points nowhere", _current("releases/99"), "is gone"),
          ("points out of the store", _current("/etc"), "no release"),
          ("is garbage", _current("garbage"), "no release"),
          ("is a folder", _current_is_a_folder, "no release"),
          ("is gone", _no_current, "no release"),
      )),
    Damage(name="a release's link is gone", situation=SAME, do=_link_removed, said="links"),
    Damage(name="a release's link leads to another blob", situation=SAME, do=_link_elsewhere, said="links"),
    *(Damage(name=f"the helper is {what}", situation=HELPED, do=_tool(content), said="helper")
      for what, content in (("garbage", b"garbage"), ("empty", b""), ("cut short", None), ("a script that lies", b"#!/bin/sh\necho lies\n"))),
    Damage(name="garbage beside the helper", situation=HELPED, do=_foreign_tool),
)  # fmt: skip


def suffer(bench: Bench, situation: Situation, damage: Damage) -> list[str]:
    """Damage a store and push; what is wrong afterwards."""
    site = bench.site
    site.restore(situation.before)
    bench.cache(situation.knows)
    damage.do(site.store, situation)
    bench.give_away(site.store)
    came = bench.do(situation.errand)
    told = []
    if not came.passed:
        told.append(f"{came.told} {came.crashed} {[failure.text for failure in came.failures]}")
    if damage.said not in " ".join(came.notes):
        told.append(f"was not explained: {came.notes}")
    found = Autopsy(store=site.store, project=PROJECT, releases={"new": situation.new})
    if found.active != "new":
        told.append(f"the release is {found.active}")
    problems = [*found.problems]
    # What was damaged may stay damaged where it is active no more.
    old = {f"blobs/{sha}" for sha in (situation.old or {}).values()}
    left = [name for name in found.leftovers() if name != "releases/1" and name not in old]
    return told + problems + ([f"left over: {', '.join(left)}"] if left else [])
