"""The command line. The only place that prints; each verb is imported when it is called."""

from __future__ import annotations

import importlib
import os
import sys
from typing import NamedTuple

import click

from edgedeploy import __version__
from edgedeploy.errors import EdgedeployError

INTERRUPTED_EXIT_CODE = 130
BUG_EXIT_CODE = 70


class Verb(NamedTuple):
    """Where a verb lives, and its line in ``edgedeploy --help``."""

    module: str
    line: str


VERBS = {
    "init": Verb("init", "Write a project: edgedeploy.toml, a model, a Makefile include, a CI workflow."),
    "push": Verb("push", "Export, verify, push, measure and judge on the devices of a target."),
    "export": Verb("export", "Export and verify on this machine only."),
    "targets": Verb("targets", "List, show and check kinds of devices."),
    "devices": Verb("devices", "List the devices that are there, with their state and facts."),
    "history": Verb("history", "List past measurements."),
    "report": Verb("report", "Write an HTML, JUnit or Markdown report of past measurements."),
    "doctor": Verb("doctor", "Say which SDKs and tools are there, and how to get the others."),
    "schema": Verb("schema", "Print the JSON Schema of a file, for editors."),
}


class LazyGroup(click.Group):
    """A group that knows its verbs by name and imports one when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names in the order of a project's life."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The verb, imported."""
        verb = VERBS.get(cmd_name)
        if verb is None:
            return None
        command: click.Command = getattr(importlib.import_module(f"edgedeploy.cli.{verb.module}"), cmd_name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest verb for a misspelt one."""
        if args and not args[0].startswith("-") and args[0] not in VERBS:
            from edgedeploy.suggest import did_you_mean

            ctx.fail(f"no command {args[0]!r}; {did_you_mean(args[0], VERBS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list of verbs, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.line) for name, verb in VERBS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgedeploy")
def cli() -> None:
    r"""From a PyTorch model to measured, trusted latency on your own phones and boards.

    \b
    edgedeploy init                          write a project
    edgedeploy push --target this-machine    run it here
    edgedeploy push --target pixel8          run it on every Pixel 8 that is plugged in

    Exit codes: 0 pass, 1 gate failed, 2 usage or configuration, 3 missing tool, 4 compress, export or verify failed,
    5 device unreachable or lost, 6 run on the device failed, 7 inconclusive, 70 a bug of edgedeploy. CI may retry 5 and 7.
    """


def main() -> None:
    """Entry point: runs a verb, and turns whatever goes wrong into one message and an exit code."""
    try:
        code = cli.main(prog_name="edgedeploy", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("\ninterrupted; nothing half-done was left behind", err=True)
        code = INTERRUPTED_EXIT_CODE
    except EdgedeployError as error:
        _show(error)
        code = error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except Exception as error:  # noqa: BLE001 - the one place where a bug becomes a message
        code = _confess(error)
    sys.exit(code)


def _show(error: EdgedeployError) -> None:
    """The failure for people on stderr; with ``--json`` also as the one document on stdout."""
    if "--json" in sys.argv:
        import msgspec

        document = {
            "schema": "edgedeploy.error/1",
            "kind": type(error).__name__,
            "exit_code": error.exit_code,
            "retryable": error.retryable,
            "what": error.what,
            "where": error.where,
            "seen": error.seen,
            "next_step": error.next_step,
        }
        click.echo(msgspec.json.encode(document))
    click.echo(f"{click.style('error', fg='red', bold=True)}: {error}", err=True)


def _confess(error: Exception) -> int:
    import tempfile
    import traceback

    text = "".join(traceback.format_exception(error))
    if os.environ.get("EDGEDEPLOY_DEBUG"):
        click.echo(text, err=True)
    with tempfile.NamedTemporaryFile("w", prefix="edgedeploy-bug-", suffix=".txt", delete=False) as file:
        file.write(f"edgedeploy {__version__}\n{sys.argv}\n{text}")
    click.echo(f"error: a bug of edgedeploy: {type(error).__name__}: {error}", err=True)
    click.echo(f"  next: please report it with {file.name}", err=True)
    return BUG_EXIT_CODE
