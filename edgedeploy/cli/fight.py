"""What the verbs that compare share: how long it may take, in which turns, and how the outcome is told."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgedeploy.cli.options import Number

if TYPE_CHECKING:
    from edgedeploy.domain.contest import CompareReport

F = TypeVar("F", bound=Callable[..., Any])


def fight_options(function: F) -> F:
    """``--max-seconds``, ``--turn-seconds``, ``--seed``: one ``rules``."""

    @functools.wraps(function)
    def call(*arguments: Any, limit_s: float, turn_s: float, seed: int | None, **others: Any) -> Any:
        from edgedeploy.stages.fight import Rules

        rules = Rules(limit_s=limit_s, turn_s=turn_s)
        return function(*arguments, rules=rules if seed is None else replace(rules, seed=seed), **others)

    decorated: Any = call
    options = (
        click.option(
            "--max-seconds",
            "limit_s",
            type=Number(min=1),
            default=180.0,
            show_default=True,
            metavar="SECONDS",
            help="When to give up on a clear answer; it ends sooner when there is one.",
        ),
        click.option(
            "--turn-seconds",
            "turn_s",
            type=Number(min=0.001, max=60),
            default=0.05,
            show_default=True,
            metavar="SECONDS",
            help="How long one side runs before it is the other's turn.",
        ),
        click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Take turns in the same order as another time."),
    )
    for option in reversed(options):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def tell(report: CompareReport, *, as_json: bool) -> None:
    """The outcome on stdout."""
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(report)))
        return
    from edgedeploy.report.comparison import print_comparison

    print_comparison(report)
