"""Does the gate cry wolf, and does it bark? A real runner on this machine, beside a neighbour that comes and goes.

100 comparisons of an artifact with itself, 50 with one of 5 % more layers, 50 with one of 10 % more, and 10 of a slower one
with a faster one. ``python benchmarks/gate/run.py --count 20`` does fewer, ``--only "+5 %"`` one kind, and records nothing.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import msgspec
from record import record

from edgedeploy import registry
from edgedeploy.cache import Cache
from edgedeploy.domain.device import Device
from edgedeploy.domain.events import ignore
from edgedeploy.domain.target import MeasurePolicy
from edgedeploy.pipeline import Pipeline
from edgedeploy.ports import Connection
from edgedeploy.stages.aboard import Aboard
from edgedeploy.stages.duel import Duel
from edgedeploy.stages.execute import Placed
from edgedeploy.stages.fight import Fight, Rules
from edgedeploy.stages.push import Payload, Terms, push

HERE = Path(__file__).resolve().parent
COUNT = 100
NEIGHBOURS = 1
TARGET = "this-machine"
CLOSE = 0.01


class Kind(NamedTuple):
    """A kind of comparison; ``share`` of all, each within ``limit_s``."""

    name: str
    base: str
    candidate: str
    limit_s: float
    expected: str
    share: float = 1.0


KINDS = (
    Kind("same", "chain", "chain", 180, "pass"),
    Kind("+5 %", "chain", "chain-5", 180, "fail", share=0.5),
    Kind("+10 %", "chain", "chain-10", 60, "fail", share=0.5),
    Kind("the other way round", "chain-5", "chain", 180, "pass", share=0.1),
)


class One(NamedTuple):
    """One comparison."""

    verdict: str
    ratio: float
    blocks: int
    seconds: float


def main() -> None:
    """Compare, and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--only", choices=[kind.name for kind in KINDS])
    parser.add_argument("--calm", action="store_true", help="without the neighbour")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # cleans up, as Ctrl-C does
    kinds = [kind for kind in KINDS if chosen.only in {None, kind.name}]
    found: dict[str, list[One]] = {kind.name: [] for kind in kinds}
    with _placed() as (connection, placed, policy), _neighbours(0 if chosen.calm else NEIGHBOURS):
        for number in range(chosen.count):
            for kind in kinds:
                if number < chosen.count * kind.share:
                    one = _compared(
                        connection,
                        Duel(base=placed[kind.base], candidate=placed[kind.candidate], policy=policy, turn_s=0.05),
                        kind,
                        number,
                    )
                    found[kind.name].append(one)
                    print(
                        f"{number} {kind.name}: {one.verdict} {one.ratio:.4f}, {one.blocks} blocks, {one.seconds:.0f} s",
                        flush=True,
                    )
    figures = {name: value for kind in kinds for name, value in _figures(kind, found[kind.name]).items()}
    words = [_words(kind, found[kind.name]) for kind in kinds]
    print("\n".join([*words, *(f"{name}: {value:g}" for name, value in figures.items())]))
    if chosen.only or chosen.calm or chosen.count < COUNT:
        return
    record(
        "gate",
        question="an artifact compared with itself, with slower and faster ones, beside a neighbour that comes and goes",
        answer="; ".join(words),
        figures=figures,
        samples={f"{kind.name}, seconds of each": [one.seconds for one in found[kind.name]] for kind in kinds},
        distributions=["edgedeploy", "executorch"],
        rows=[
            {"kind": kind.name, "verdict": one.verdict, "ratio": f"{one.ratio:.5f}", "blocks": one.blocks}
            for kind in kinds
            for one in found[kind.name]
        ],
    )


def _compared(connection: Connection, duel: Duel, kind: Kind, number: int) -> One:
    rules = Rules(limit_s=kind.limit_s, seed=number)
    fought = Fight(connection, duel, rules, ignore, kind.name, has_room=True).fight()
    found = fought.decided[0]
    return One(verdict=fought.verdict, ratio=found.ratio or float("nan"), blocks=found.blocks, seconds=fought.seconds)


def _figures(kind: Kind, ones: Sequence[One]) -> dict[str, float]:
    seconds = sorted(one.seconds for one in ones)
    figures = {
        f"{kind.name}, comparisons": len(ones),
        f"{kind.name}, {kind.expected}": sum(one.verdict == kind.expected for one in ones),
        f"{kind.name}, inconclusive": sum(one.verdict == "inconclusive" for one in ones),
        f"{kind.name}, wrong": sum(one.verdict not in {kind.expected, "inconclusive"} for one in ones),
        f"{kind.name}, median ratio": statistics.median(one.ratio for one in ones),
        f"{kind.name}, median s": statistics.median(seconds),
        f"{kind.name}, longest s": seconds[-1],
        f"{kind.name}, median blocks": statistics.median(one.blocks for one in ones),
    }
    if kind.base == kind.candidate:
        figures[f"{kind.name}, ratio within {CLOSE:.0%} of 1"] = sum(abs(one.ratio - 1) <= CLOSE for one in ones)
    return figures


def _words(kind: Kind, ones: Sequence[One]) -> str:
    figures = _figures(kind, ones)
    right, wrong = figures[f"{kind.name}, {kind.expected}"], figures[f"{kind.name}, wrong"]
    close = figures.get(f"{kind.name}, ratio within {CLOSE:.0%} of 1")
    near = "" if close is None else f", {close} within {CLOSE:.0%} of 1"
    spent = f"median {figures[f'{kind.name}, median s']:.0f} s, longest {figures[f'{kind.name}, longest s']:.0f} s"
    return f"{kind.name}: {right} of {len(ones)} {kind.expected}, {wrong} wrong{near} ({spent})"


@contextmanager
def _placed() -> Iterator[tuple[Connection, dict[str, Placed], MeasurePolicy]]:
    """The chains in a store of their own on this machine, each with its runner."""
    pipeline = Pipeline.load(HERE)
    ready, failed = pipeline.ready(TARGET, sink=ignore)
    if failed:
        raise SystemExit(str(failed[0].error))
    target = pipeline.lab.target(TARGET)
    with tempfile.TemporaryDirectory(prefix="bench-gate-") as workdir:
        device = Device(name=TARGET, transport="local", target=TARGET, workdir=workdir)
        connection = registry.transport("local").connect(device)
        try:
            aboard = Aboard(connection=connection, device=device, target=target, cache=Cache(), sink=ignore)
            store = aboard.store("gate")
            payloads = [Payload(prepared=item.prepared, bundle=aboard.runner_for(item)) for item in ready]
            release, _ = push(store, payloads, Terms(project="gate", device=device.name), sink=ignore)
            policy = msgspec.structs.replace(ready[0].prepared.run.policy, iterations=2000, warmup_seconds=0.0)
            with store.scratch() as scratch:
                base = store.release_dir(release)
                placed = {
                    item.prepared.run.model_name: aboard.placed(payload, base, scratch)
                    for item, payload in zip(ready, payloads, strict=True)
                }
                yield connection, placed, policy
        finally:
            connection.close()


@contextmanager
def _neighbours(count: int) -> Iterator[None]:
    with ExitStack() as stack:
        for number in range(count):
            process = stack.enter_context(subprocess.Popen([sys.executable, str(HERE / "neighbour.py"), str(number)]))
            stack.callback(process.kill)
        yield


if __name__ == "__main__":
    main()
