"""The command line. The only place that prints; each verb is imported when it is called."""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from edgedeploy import __version__
from edgedeploy.cli.interrupts import Interrupts
from edgedeploy.cli.output import READER_GONE_EXIT_CODE, OutputFailedError, give_up_writing, watched, write_any_text
from edgedeploy.errors import EdgedeployError, UsageError

if TYPE_CHECKING:
    from types import ModuleType


# One module each, of the same name.
VERBS = {
    "init": "Write a project: edgedeploy.toml, a model, a Makefile include, a CI workflow.",
    "plan": "Say in seconds what an export would be and whether it fits: size, memory, least latency.",
    "push": "Export, verify, push, measure and judge on the devices of a target.",
    "compare": "Say whether one artifact is slower than another, by running both in turns.",
    "baseline": "Say what artifacts are compared with, and show it.",
    "gate": "Compare what a project gates with its baselines.",
    "export": "Export and verify on this machine only.",
    "targets": "List, show and check kinds of devices.",
    "devices": "List the devices that are there, with their state and facts.",
    "releases": "List the releases on devices, and the space that is left.",
    "rollback": "Switch devices back to an earlier release.",
    "verify": "Hash what lies on devices: is it still what was pushed?",
    "clean": "Remove from devices what nobody needs any more.",
    "lease": "Show who has which device; take one for yourself, give it back.",
    "history": "List past measurements, their series and comparisons.",
    "report": "Write an HTML, JUnit or Markdown report of past measurements.",
    "results": "Export results to other tools' formats, import theirs, show one whole.",
    "doctor": "Say which SDKs and tools are there, and how to get the others.",
    "schema": "Print the JSON Schema of a file, for editors.",
}


class LazyGroup(click.Group):
    """A group that knows its verbs by name and imports one when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names in the order of a project's life."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The verb, imported."""
        if cmd_name not in VERBS:
            return None
        command: click.Command = getattr(importlib.import_module(f"edgedeploy.cli.{cmd_name}"), cmd_name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest verb for a misspelt one."""
        if args and not args[0].startswith("-") and args[0] not in VERBS:
            from edgedeploy.suggest import did_you_mean

            ctx.fail(f"no command {args[0]!r}; {did_you_mean(args[0], VERBS)}")
        return super().resolve_command(ctx, args)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """As click does; ``--help`` and ``--version`` already write here."""
        with watched():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """As click does, and tell a failing output from a failing verb."""
        with watched():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list of verbs, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgedeploy")
def cli() -> None:
    """From a PyTorch model to measured, trusted latency on your own phones and boards.

    \b
    edgedeploy init                          write a project
    edgedeploy push --target this-machine    run it here
    edgedeploy push --target pixel8          run it on every Pixel 8 that is plugged in

    Exit codes: 0 pass, 1 gate failed, 2 usage or configuration, 3 missing tool, 4 compress, export or verify failed,
    5 device unreachable or lost, 6 run on the device failed, 7 inconclusive, 70 a bug of edgedeploy. CI may retry 5 and 7.
    """  # noqa: D301 - click wants the control character


def main() -> None:
    """Entry point: runs a verb, and turns whatever goes wrong into one message and an exit code."""
    write_any_text()
    with Interrupts() as interrupts:
        try:
            code = cli.main(prog_name="edgedeploy", standalone_mode=False)
        except click.ClickException as error:
            code = _failure().of_usage(error).tell()
        except (KeyboardInterrupt, click.Abort):
            code = _failure().of_interrupt(interrupts.exit_code, interrupts.how).tell()
        except EdgedeployError as error:
            code = _failure().of_error(error).tell()
        except OutputFailedError as error:
            code = _without_output(error)
        except Exception as error:  # noqa: BLE001 - the one place where a bug becomes a message
            code = _failure().of_bug(error).tell()
        sys.exit(code)


def _failure() -> ModuleType:
    from edgedeploy.cli import failure  # a command that succeeds does without

    return failure


def _without_output(error: OutputFailedError) -> int:
    if error.reader_gone:
        give_up_writing()
        return READER_GONE_EXIT_CODE
    failed = UsageError("the output cannot be written", seen=error.seen)
    with suppress(OSError):
        click.echo(f"{click.style('error', fg='red', bold=True)}: {failed}", err=True)
    give_up_writing()
    return failed.exit_code
