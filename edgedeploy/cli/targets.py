"""``edgedeploy targets``."""

from __future__ import annotations

from pathlib import Path

import click

from edgedeploy.cli.options import json_option


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def targets(ctx: click.Context, *, as_json: bool) -> None:
    """List, show and check kinds of devices."""
    if ctx.invoked_subcommand is not None:
        return
    from edgedeploy.lab import Lab

    lab = Lab(Path.cwd())
    found = lab.targets
    for broken in lab.broken:
        click.echo(f"warning: {broken.where}: {broken.what}", err=True)
    if as_json:
        import msgspec

        trouble = [str(broken) for broken in lab.broken]
        document = {"schema": "edgedeploy.targets/1", "targets": list(found.values()), "trouble": trouble}
        click.echo(msgspec.json.format(msgspec.json.encode(document)))
        return
    width = max(map(len, found), default=0)
    for name, target in found.items():
        exporters = ", ".join(dict.fromkeys(lane.exporter for lane in target.lanes))
        click.echo(f"{name:<{width}}  {'/'.join(target.transports):<10}  {exporters:<20}  {target.title}")


@targets.command()
@click.argument("name")
@json_option
def show(name: str, *, as_json: bool) -> None:
    """Everything known about a target, and where each fact comes from."""
    import msgspec

    from edgedeploy.lab import Lab

    lab = Lab(Path.cwd())
    target = lab.target(name)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(target)))
        return
    click.echo(f"# {lab.target_files[name]}")
    click.echo(lab.target_files[name].read_text(encoding="utf-8").rstrip())
    unverified = [fact for fact, source in target.sources.items() if source.verified is None]
    if unverified:
        click.echo(f"\n# never confirmed on a real unit: {', '.join(unverified)}")


@targets.command()
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Check a target file of your own."""
    from edgedeploy.config.targets import read_target

    target = read_target(file)
    click.echo(f"{file}: fine; {len(target.lanes)} lanes, {len(target.sources)} sources")
