"""``edgedeploy results``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgedeploy.cli.options import bundle_option, json_option, model_option, project_option, target_option
from edgedeploy.domain.imported import TOOLS, Tool
from edgedeploy.errors import UsageError

if TYPE_CHECKING:
    from edgedeploy.results.exports import Format
    from edgedeploy.results.store import ResultStore

_FORMATS = ("oss-v3", "tflite", "mlperf", "csv", "llama-bench")  # as edgedeploy.results.exports has them; a test compares


@click.group()
def results() -> None:
    """Export results to other tools' formats, import theirs, show one whole."""


@results.command("export")
@click.argument("run_ids", nargs=-1, metavar="[RUN]...")
@click.option("--format", "kind", required=True, type=click.Choice(_FORMATS), help="Whose format.")
@click.option("--output", "-o", type=click.Path(path_type=Path), metavar="FILE", help="Default: stdout.")
@target_option(required=False)
@model_option
@click.option("--device", metavar="NAME", help="Only this unit.")
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(min=1), help="At most so many, newest first.")
@bundle_option("Of what was pushed from this bundle, instead of a project.")
@project_option
def export_them(  # noqa: PLR0913, PLR0917 - one parameter per option
    run_ids: tuple[str, ...],
    kind: Format,
    output: Path | None,
    target: str | None,
    models: tuple[str, ...],
    device: str | None,
    limit: int,
    bundle: Path | None,
    project_path: Path,
) -> None:
    """Write the runs named, or all that the filters leave, newest first, as another tool would.

    What was not measured is absent, never zero. oss-v3: records of PyTorch's OSS benchmark database, failures too. tflite:
    TensorFlow Lite's BenchmarkResult. mlperf: lines in the style of LoadGen's summary. csv: a row per run, failures too.
    llama-bench: its JSON, of language models.
    """
    from edgedeploy.cli.store import Filters, newest_runs, open_results
    from edgedeploy.results.exports import export

    store, name = open_results(project_path, bundle)
    if run_ids:
        runs = tuple(store.run(run_id) for run_id in run_ids)
    else:
        runs = newest_runs(store, Filters(project=name, target=target, models=models, device=device, limit=limit))
        if len(runs) == limit:
            click.echo(f"the newest {limit} runs only; --limit says how many", err=True)
    found = export(kind, runs)
    if not found.runs:
        why = f"{len(runs)} runs, and none that {kind} has a place for" if runs else "no runs"
        raise UsageError("nothing to export", where=name, seen=why, next_step="`edgedeploy history` lists the runs")
    if found.left_out:
        click.echo(f"{len(found.left_out)} of {len(runs)} runs are left out: {kind} has no place for them", err=True)
    if output is None:
        click.echo(found.text, nl=False)
        return
    try:
        output.write_text(found.text, encoding="utf-8")
    except OSError as error:
        raise UsageError("the export cannot be written", where=str(output), seen=error.strerror or str(error)) from None
    click.echo(output.absolute())


@results.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--format", "tool", type=click.Choice(TOOLS), help="Which tool wrote it (default: seen from the file).")
@click.option("--model", required=True, metavar="NAME", help="The model that was measured.")
@target_option(required=True)
@click.option("--device", default="", metavar="NAME", help="The unit on which it was measured.")
@json_option
@project_option
def import_them(
    files: tuple[Path, ...],
    tool: Tool | None,
    model: str,
    target: str,
    device: str,
    project_path: Path,
    *,
    as_json: bool,
) -> None:
    """Take in what other tools measured: benchmark_model's log, the PyTorchObserver lines of ExecuTorch's runners, llama-bench.

    Such results are marked with the tool and the file, and listed by "edgedeploy history". They belong to no series, and no gate
    uses them. A file that was imported before adds nothing. Nothing is kept when one of the files is bad.
    """
    from edgedeploy.pipeline import Pipeline
    from edgedeploy.results.imports import Belongs, read_file

    pipeline = Pipeline.load(project_path)
    pipeline.lab.target(target)
    if model not in pipeline.project.models:
        click.echo(f"note: no model of the project is called {model!r}", err=True)
    belongs = Belongs(project=pipeline.project.name, model=model, target=target, device=device)
    found = [item for file in files for item in read_file(file, tool, belongs)]
    with pipeline.results() as store:
        new = sum(store.imports.add(item) for item in found)
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode({"schema": "edgedeploy.import/1", "imported": found, "new": new})))
        return
    from edgedeploy.report.imported import import_line

    for item in found:
        click.echo(import_line(item))
    click.echo(f"{new} imported" + (f", {len(found) - new} were there already" if new < len(found) else ""))


@results.command("show")
@click.argument("result_id", metavar="ID")
@bundle_option("Of what was pushed from this bundle, instead of a project.")
@project_option
def show(result_id: str, bundle: Path | None, project_path: Path) -> None:
    """Print one run, comparison or imported result as a JSON document, with every sample.

    ID is what "edgedeploy history" shows, or as much of its beginning as no other has.
    """
    import msgspec

    from edgedeploy.cli.store import open_results

    store, _ = open_results(project_path, bundle)
    click.echo(msgspec.json.format(msgspec.json.encode(_only(store, result_id))))


def _only(store: ResultStore, result_id: str) -> object:
    from edgedeploy.results.comparisons import whole

    found: list[object] = [whole(past, bulk) for past, bulk in store.comparisons.starting_with(result_id)]
    found += [item for item, _ in store.imports.starting_with(result_id)]
    if not found:
        return store.run(result_id)
    if len(found) > 1:
        raise UsageError(f"several results begin with {result_id!r}", next_step="give more of the id")
    return found[0]
