"""What is pushed onto what: the representative pushes, each with the store that it finds and the releases it may leave."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from integration.faults.autopsy import Files
from integration.faults.errand import Came, Errand, Hand
from integration.faults.site import Site
from unit.stages.planned import planned, prepared, runner, target

from edgedeploy.domain.measurement import Agreement
from edgedeploy.domain.result import Verification
from edgedeploy.domain.target import MeasurePolicy
from edgedeploy.stages.push import Payload
from edgedeploy.stages.run_result import Ready

PROJECT = "demo"
MIB = 1 << 20
LARGE_BYTES = 6 * MIB + 12345
ABI = {"adb": "x86_64", "ssh": "linux-x86_64"}

# Speaks docs/runner-protocol.md, and answers what PyTorch would have: 1.0 and 2.0.
_RUNNER = r"""#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in --model) model=$2 ;; --output-dir) out=$2 ;; esac
  shift 2
done
echo AACAPwAAAEA= | base64 -d > "$out/output_0.bin" || exit 1
sha=$(sha256sum < "$model"); sha=${sha%% *}
echo '{"schema": "edgedeploy.runner/1", "runner": {"name": "script", "version": "1", "engine": "sh", "engine_version": "1"},
  "model": {"sha256": "'$sha'", "size_bytes": 1}, "threads": 1, "cpus": [0], "clock": {"name": "none", "resolution_ns": 1},
  "load_ns": 5000, "first_inference_ns": 7000, "warmup_ns": [], "latency_ns": [1000, 1001], "rss_before_load_bytes": 1,
  "peak_rss_bytes": 2000000, "cases": 1, "outputs": [{"dtype": "float32", "shape": [2], "file": "output_0.bin"}]}'
"""
_POLICY = MeasurePolicy(processes=1, iterations=2, warmup_iterations=0, warmup_seconds=0)
_HOST = Verification(host=Agreement(max_abs_error=0.0, cosine=1.0, sqnr_db=None, exact=True))


@dataclass(frozen=True, kw_only=True)
class Situation:
    """``before`` is the store it finds (None: nothing); ``after`` is the push that has to go through afterwards."""

    name: str
    before: Path | None
    errand: Errand
    after: Errand
    old: Files | None
    new: Files
    final: Files
    damaged: frozenset[str] = frozenset()
    knows: Path | None = None

    @property
    def releases(self) -> dict[str, Files]:
        """Those that may be current while and after it was disturbed."""
        return {**({"old": self.old} if self.old is not None else {}), "new": self.new}


class Bench:
    """One site, with the versions of what is pushed there and stores to begin with, made by pushes that nothing disturbs."""

    def __init__(self, folder: Path, site: Site, hand: Hand, helper: Path | None) -> None:
        self.site, self.hand = site, hand
        self._folder = folder
        self._helper = helper
        noise = random.Random(1).randbytes(LARGE_BYTES)
        at = LARGE_BYTES // 2
        self.first = self._version("first", noise)
        self.changed = self._version("changed", noise[:at] + b"something else" * 9000 + noise[at:])
        self.other = self._version("other", random.Random(2).randbytes(LARGE_BYTES))
        self.sparse = self._version(
            "sparse", b"".join(noise[i : i + 4096] + bytes(4096) for i in range(0, LARGE_BYTES // 2, 4096))
        )

    def situations(self, *only: str) -> tuple[Situation, ...]:
        """All of them, or those of some names; some pushes have to be made for that."""
        first, changed, other = self.first, self.changed, self.other
        none = self._folder / "knows-nothing"
        none.mkdir()
        knows = self._folder / "knows-first"
        with_first = self._made("with-first", None, self._errand(first, knows))
        wanted = {"back"} <= {*only} or not only
        with_both = self._made("with-both", with_first, self._errand(changed, none)) if wanted else with_first
        part = self._made("with-part", with_first)
        shutil.copyfile(self._large(other), part / "incoming" / f"{self.sha(other)}.part")
        with (part / "incoming" / f"{self.sha(other)}.part").open("r+b") as file:
            file.truncate(LARGE_BYTES // 2)
        flipped = self._made("flipped", with_first)
        flip(flipped / "blobs" / self.sha(first))
        for made in (part, flipped):
            self.give_away(made)
        found = [
            self._situation("first push", None, None, first, none),
            self._situation("a new version, by its changes", with_first, first, changed, knows),
            self._situation("nothing changed", with_first, first, first, none),
            self._situation("another model, cut before", part, first, other, none),
            self._situation("a blob's bit turned", flipped, first, first, none, damaged=frozenset({self.sha(first)})),
            _packed(self._situation("a sparse model, packed", with_first, first, self.sparse, none)),
            self._situation("back", with_both, changed, first, none, back=True),
        ]
        if self._helper is not None:
            helped = self._made("with-helper", None, self._errand(first, none, helper=self._helper))
            found += [
                self._situation("first push, with helper", None, None, first, none, helper=self._helper),
                self._situation("a new version, with helper", helped, first, changed, none, helper=self._helper),
            ]
        return tuple(situation for situation in found if situation.name in only or not only)

    def do(self, errand: Errand) -> Came:
        """Have an errand done that nothing disturbs."""
        return self.hand.do(errand)

    def sha(self, version: Sequence[Ready]) -> str:
        """The digest of a version's large file."""
        return version[0].prepared.artifact.sha256

    def files(self, version: Sequence[Ready]) -> Files:
        """What a release of this version consists of."""
        found = {}
        for item in version:
            assert item.runner is not None
            found.update({f.entry.path: f.entry.sha256 for f in Payload(prepared=item.prepared, bundle=item.runner).files()})
        return found

    def cache(self, knows: Path | None) -> Path:
        """A cache with nothing in it but what ``knows`` has."""
        folder = self._folder / "cache"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(knows or self._folder / "knows-nothing", folder)
        return folder

    def _situation(
        self,
        name: str,
        before: Path | None,
        old: Sequence[Ready] | None,
        new: Sequence[Ready],
        knows: Path,
        *,
        back: bool = False,
        helper: Path | None = None,
        damaged: frozenset[str] = frozenset(),
    ) -> Situation:
        cache = self._folder / "cache"
        errand = self._errand(new, cache, helper=helper)
        after = self._errand(old, cache) if back and old else errand
        return Situation(
            name=name,
            before=before,
            errand=replace(errand, back=back),
            after=replace(after, wait_s=60),
            old=self.files(old) if old is not None else None,
            new=self.files(new),
            final=self.files(old if back and old else new),
            damaged=damaged,
            knows=knows,
        )

    def _errand(self, version: Sequence[Ready], cache: Path, *, helper: Path | None = None) -> Errand:
        kind = self.site.kind
        made = target(os=self.site.os, abi=ABI[kind], transports=(kind,), workdir=self.site.workdir)
        return Errand(device=self.site.device, target=made, project=PROJECT, ready=tuple(version), cache=cache, helper=helper)

    def _made(self, name: str, before: Path | None, errand: Errand | None = None) -> Path:
        self.site.restore(before)
        if errand is not None:
            came = self.do(errand)
            assert came.passed, came
        self.site.save(self._folder / name)
        return self._folder / name

    def give_away(self, store: Path) -> None:
        """Files that we wrote belong to the device's user, as the folder does."""
        owner = store.stat()
        for path in store.rglob("*"):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)

            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)

    def _version(self, name: str, content: bytes) -> tuple[Ready, ...]:
        folder = self._folder / name
        bundle = runner(folder / "runner", content=_RUNNER.encode())
        made = []
        for model, own in (("large", content), ("small", b"small" + name.encode())):
            run = planned(model, policy=_POLICY)
            ready = prepared(folder / model, run, content=own)
            made.append(Ready(prepared=ready, host=_HOST, runner=bundle, runner_abi=ABI[self.site.kind]))  # type: ignore[arg-type]
        return tuple(made)

    def _large(self, version: Sequence[Ready]) -> Path:
        return Path(version[0].prepared.folder) / "model.pte"


def _packed(of: Situation) -> Situation:
    return replace(of, errand=replace(of.errand, packed=True), after=replace(of.after, packed=True))


def flip(blob: Path) -> None:
    """Turn one bit in the middle of a file."""
    mode = blob.stat().st_mode
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        file.seek(blob.stat().st_size // 3)
        (byte,) = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    blob.chmod(mode)
