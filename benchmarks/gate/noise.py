"""Comparisons on a device that does not exist: what is known to disturb measurements, each by itself and all at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgedeploy.domain.comparison import Block, SideFigures, Turn
from edgedeploy.stats.schedule import schedule

LATENCY_NS = 3e6
SLOW_PROCESSES = 0.2  # of all, where `layout` is not 0
SLOW_ITERATIONS = 0.4  # of all, where `bimodal` is not 0


@dataclass(frozen=True, kw_only=True)
class Noise:
    """A device and its disturbances. Shares are relative to the latency: 0.01 is 1 %."""

    process_sd: float = 0.01  # processes differ
    layout: float = 0.0  # a fifth of the processes are slower by this, as where memory came to lie has it
    iteration_sd: float = 0.01
    tail_share: float = 0.02  # iterations that are interrupted, by half a latency on average
    drift: float = 0.0  # from the first block to the last of `drift_blocks`
    wander_sd: float = 0.0  # a random walk of the frequency, per turn
    neighbour: float = 0.0  # slower by this while somebody else runs
    spell_s: float = 2.0  # mean length of the neighbour's spells, and of the quiet between
    bimodal: float = 0.0  # this much slower in two of five iterations
    step: float = 0.0  # slower by this from the middle on
    order: float = 0.0  # the second turn of a pair is slower by this
    pairs: int = 10  # of turns in a block
    slice_s: float = 0.03
    pause_s: float = 1.0  # between blocks: start, load, warm-up
    base_share: float = 1.0  # iterations of the base's slices, of what they would be

    drift_blocks: int = 40


SCENARIOS = {
    "quiet": Noise(process_sd=0.005),
    "processes differ by 1 %": Noise(),
    "processes differ by 2 %": Noise(process_sd=0.02),
    "one process in five 4 % slower": Noise(process_sd=0.005, layout=0.04),
    "drift +10 %": Noise(drift=0.10),
    "drift -10 %": Noise(drift=-0.10),
    "step of 30 % in the middle": Noise(step=0.30),
    "frequency wanders": Noise(wander_sd=0.01),
    "neighbour on and off, 1.3x": Noise(neighbour=0.3),
    "neighbour in short spells, 1.3x": Noise(neighbour=0.3, spell_s=0.15),
    "bimodal, 1.25x": Noise(bimodal=0.25),
    "heavy tails": Noise(iteration_sd=0.05, tail_share=0.15),
    "base with a fifth of the samples": Noise(base_share=0.2),
    "second turn 2 % slower": Noise(order=0.02),
    "slow model, 1 sample a turn": Noise(slice_s=0.003, pairs=10, iteration_sd=0.03),
    "everything at once": Noise(drift=0.10, wander_sd=0.005, neighbour=0.3, bimodal=0.1, tail_share=0.05, base_share=0.5),
    "one process at a time, quiet": Noise(pairs=1, slice_s=1.0, pause_s=3.0),
    "one process at a time, neighbour": Noise(pairs=1, slice_s=1.0, pause_s=3.0, neighbour=0.3),
    "one process at a time, 8 % between two kinds": Noise(pairs=1, slice_s=1.0, pause_s=3.0, process_sd=0.002, layout=0.08),
}


@dataclass
class Device:
    """Runs blocks, one after the other; its state goes on from one to the next."""

    noise: Noise
    slow_down: float
    rng: np.random.Generator
    now_s: float = 0.0
    wander: float = 0.0
    number: int = 0

    def __post_init__(self) -> None:
        """The neighbour's comings and goings."""
        spells = self.rng.exponential(self.noise.spell_s, size=max(64, int(600 / self.noise.spell_s)))
        self.changes = np.cumsum(spells)
        self.first = int(self.rng.integers(2))

    def block(self) -> Block:
        """A fresh process of each side, and their turns."""
        noise, rng = self.noise, self.rng
        level = dict(zip(("base", "candidate"), np.exp(rng.normal(0, noise.process_sd, 2)), strict=True))
        for side in level:
            level[side] *= 1 + noise.layout * (rng.random() < SLOW_PROCESSES)
        level["candidate"] *= 1 + self.slow_down
        turns = []
        self.now_s += noise.pause_s
        for index, side in enumerate(schedule(noise.pairs, seed=int(rng.integers(2**31)))):
            self.wander += rng.normal(0, noise.wander_sd) - 0.02 * self.wander
            start_s = self.now_s
            count = max(1, round(noise.slice_s / (LATENCY_NS / 1e9) * (noise.base_share if side == "base" else 1.0)))
            ns = LATENCY_NS * level[side] * np.exp(self.wander + rng.normal(0, noise.iteration_sd, count))
            ns *= 1 + (rng.random(count) < noise.tail_share) * rng.exponential(0.5, count)
            ns *= 1 + (rng.random(count) < SLOW_ITERATIONS) * noise.bimodal
            ns *= 1 + noise.drift * self.number / noise.drift_blocks
            ns *= 1 + noise.order * (index % 2)
            if noise.step and (self.number, index) >= (noise.drift_blocks // 8, noise.pairs):
                ns *= 1 + noise.step
            if noise.neighbour:
                at = start_s + np.cumsum(ns) / 1e9
                busy = (np.searchsorted(self.changes, at) + self.first) % 2
                ns *= 1 + noise.neighbour * busy
            turns.append(
                Turn(side=side, start_ns=int(start_s * 1e9), latency_ns=tuple(np.maximum(ns, 1).astype(np.int64).tolist()))
            )
            self.now_s = start_s + noise.slice_s if noise.pairs > 1 else start_s + float(ns.sum()) / 1e9 + noise.pause_s
        self.number += 1
        figures = [SideFigures(load_ns=int(1e8 * np.exp(rng.normal(0, 0.1))), peak_rss_bytes=50_000_000) for _ in range(2)]
        return Block(turns=tuple(turns), base=figures[0], candidate=figures[1])
