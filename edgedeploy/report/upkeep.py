"""What was found and done on devices between pushes, for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from edgedeploy.domain.failure import Failure
from edgedeploy.domain.upkeep import (
    BadFile,
    Cleaned,
    Finding,
    LeaseState,
    ReleaseFacts,
    Releases,
    RolledBack,
    UpkeepReport,
    Verified,
)
from edgedeploy.report import units
from edgedeploy.report.layout import empty_table, fits

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

F = TypeVar("F", bound=Finding)
_MINUTE_S = 60


def print_releases(report: UpkeepReport[Releases], console: Console | None = None) -> None:
    """A row per release, newest first; a few lines per release where that is too wide. The space of each device below."""
    from rich.console import Console

    console = console or Console()
    rows = [
        (outcome.device, project.project, facts)
        for outcome in report.devices
        for project in (outcome.found.projects if outcome.found else ())
        for facts in project.releases
    ]
    table = _release_table(rows)
    if rows and fits(table, console):
        console.print(table)
    elif rows:
        for device, project, facts in rows:
            _print_release(device, project, facts, console)
    _print_each(report, _space, console)


def _release_table(rows: Sequence[tuple[str, str, ReleaseFacts]]) -> Table:
    from rich.text import Text

    table = empty_table()
    for name in ("device", "project", "release", "pushed", "by", "models", "files", "size", "state"):
        table.add_column(name, justify="right" if name in {"release", "files", "size"} else "left")
    for device, project, facts in rows:
        cells = (device, project, str(facts.number), _pushed_at(facts), facts.pushed_by or units.ABSENT)
        models = Text("\n".join(map(units.clean, facts.models)) or units.ABSENT)
        figures = (Text(str(facts.files)), Text(units.size(facts.size_bytes)))
        table.add_row(*(Text(units.clean(cell)) for cell in cells), models, *figures, _state(facts))
    return table


def _print_release(device: str, project: str, facts: ReleaseFacts, console: Console) -> None:
    from rich.padding import Padding
    from rich.text import Text

    name = Text.assemble((units.clean(device), "bold"), f"  {units.clean(project)} release {facts.number}  ", _state(facts))
    console.print(name)
    pushed = (
        f"{_pushed_at(facts)} by {facts.pushed_by or 'somebody'}, {_many(facts.files, 'file')}, {units.size(facts.size_bytes)}"
    )
    for line in (pushed, *facts.models):
        console.print(Padding(Text(units.clean(line)), (0, 0, 0, 2), expand=False))


def print_rollback(report: UpkeepReport[RolledBack], console: Console | None = None) -> None:
    """From which release to which, on each device."""
    _print_each(report, _switched, console)


def print_verified(report: UpkeepReport[Verified], console: Console | None = None) -> None:
    """What is bad, on each device, and what to do."""
    _print_each(report, _checked, console)


def print_cleaned(report: UpkeepReport[Cleaned], console: Console | None = None) -> None:
    """What went, on each device."""
    _print_each(report, _swept, console)


def print_leases(report: UpkeepReport[LeaseState], console: Console | None = None) -> None:
    """Who has each device."""
    _print_each(report, _holder, console)


def _print_each(report: UpkeepReport[F], lines: Callable[[F], Iterator[Text]], console: Console | None) -> None:
    """The device's name, and beside it the first of its lines; the others below."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = console or Console()
    for outcome in report.devices:
        said = list(lines(outcome.found)) if outcome.found else list(_failure(outcome.error)) if outcome.error else []
        first, *rest = said or [Text()]
        console.print(Text.assemble((units.clean(outcome.device), "bold"), ": ", first), soft_wrap=True)
        for line in rest:
            console.print(Padding(line, (0, 0, 0, 2), expand=False), soft_wrap=True)


def _failure(error: Failure) -> Iterator[Text]:
    from rich.text import Text

    yield Text.assemble((f"{error.kind}: ", "red"), units.clean(error.what))
    if error.seen:
        yield Text(f"seen: {units.clean(error.seen)}", style="dim")
    if error.next_step:
        yield Text(f"next: {units.clean(error.next_step)}")
    if error.retryable:
        yield Text("a retry may help")


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _pushed_at(facts: ReleaseFacts) -> str:
    return units.moment(facts.created_at) or units.ABSENT


def _state(facts: ReleaseFacts) -> Text:
    from rich.text import Text

    place = "current" if facts.current else "previous" if facts.previous else ""
    if facts.whole:
        return Text(place, style="green" if facts.current else "")
    return Text(f"{place}, not whole".removeprefix(", "), style="red")


def _space(found: Releases) -> Iterator[Text]:
    from rich.text import Text

    nothing = "" if found.projects else "no releases, "
    yield Text(f"{nothing}{units.size(found.stored_bytes)} stored, {units.size(found.free_bytes)} free")


def _switched(found: RolledBack) -> Iterator[Text]:
    from rich.text import Text

    if found.from_release == found.to_release:
        yield Text(f"release {found.to_release} is the current one already")
    elif found.done:
        yield Text(f"release {found.from_release} → {found.to_release} in {found.seconds:.2f} s")
    else:
        yield Text(f"release {found.from_release} → {found.to_release}: not done, a dry run")


def _checked(found: Verified) -> Iterator[Text]:
    from rich.text import Text

    release = f"release {found.release}, " if found.release else ""
    amount = f"{release}{_many(found.files, 'file')}, {units.size(found.size_bytes)} hashed in {found.seconds:.1f} s: "
    if not found.bad:
        yield Text.assemble(amount, ("sound", "green"))
        return
    yield Text.assemble(amount, (f"{len(found.bad)} bad", "bold red"))
    yield from (_bad(file) for file in found.bad)
    if any(file.what == "damaged" and not file.removed and file.sha256 for file in found.bad):
        yield Text("next: run it without --dry-run, which removes what is damaged, then push: only that is sent again")
    else:
        yield Text("next: push again: of what it needs, only this is sent")


def _bad(file: BadFile) -> Text:
    from rich.text import Text

    name = ", ".join(file.paths) or f"{file.sha256} (of no release of this project)"
    return Text.assemble((f"{file.what}{' and removed' if file.removed else ''}: ", "red"), units.clean(name))


def _swept(found: Cleaned) -> Iterator[Text]:
    from rich.text import Text

    counted = ((len(found.releases), "release"), (found.files, "file"), (found.transfers, "cut transfer"))
    gone = ", ".join(_many(count, noun) for count, noun in counted)
    if found.done:
        yield Text(f"{gone} removed; {units.size(found.freed_bytes)} freed, {units.size(found.free_bytes)} free now")
    else:
        yield Text(f"{gone} would go; {units.size(found.freed_bytes)} more than {units.size(found.free_bytes)} free then")
    yield from (Text(f"{units.clean(release.project)}, release {release.number}", style="dim") for release in found.releases)


def _holder(found: LeaseState) -> Iterator[Text]:
    from rich.text import Text

    left = f"{found.left_s // _MINUTE_S} min {found.left_s % _MINUTE_S} s"
    who = units.clean(f"{found.owner or 'somebody'}, {found.purpose or 'a lease'}")
    match found.state:
        case "free":
            yield Text("free", style="green")
        case "held":
            yield Text(f"{who}, {left} left unless it is renewed")
        case "taken":
            yield Text(f"taken for {left}", style="green")
        case "released":
            yield Text(f"released; it was {who}, {left} left")
