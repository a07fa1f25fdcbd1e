"""Exports every model of examples/zoo in every lane of ``LANES``, and writes ``docs/zoo.json`` and ``docs/zoo.md``.

One process per model, with a time limit, each of which exports in worker processes as ``edgedeploy export`` does. What
edgedeploy has in its cache is not exported again, and the table is written after every model: a run that was broken off is
taken up where it was. With ``--model`` the other rows stay as they are.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import datetime as dt
import importlib.metadata
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import msgspec
from page import page
from table import PAGE, PROJECT, TABLE, Cell, Model, Zoo, cell_of, late, read_zoo

from edgedeploy.config.project import read_project
from edgedeploy.domain.project import Deploy
from edgedeploy.lab import Lab
from edgedeploy.pipeline import Pipeline
from edgedeploy.stages.plan import lanes_of

# Per exporter the target whose lanes are taken, and the precisions in the table's order. Those of a pruned model are left out.
LANES = {
    "executorch": ("this-machine", ("fp32", "fp16", "int8", "int8-dynamic", "8da4w")),
    "tflite": ("this-machine", ("fp32", "fp16", "int8", "int8-dynamic", "int4-weights")),
    "coreml": ("iphone16", ("fp32", "fp16", "int8", "int8-weights", "palette4")),
}
DISTRIBUTIONS = (
    "torch",
    "torchao",
    "transformers",
    "executorch",
    "coremltools",
    "litert-torch",
    "litert-converter",
    "ai-edge-litert",
    "ai-edge-quantizer",
)


class _Made(msgspec.Struct, frozen=True, kw_only=True):
    """What the process of one model prints."""

    parameters: int | None
    cells: tuple[Cell, ...]


def main() -> int:
    """Run; 0 when every model asked for has its cells."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", default=[], help="only this one; may be given again")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="models at once; each takes about 2 GB")
    parser.add_argument("--seconds", type=int, default=900, help="time limit per model")
    parser.add_argument("--precision", action="append", default=[], help="only this one; may be given again")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        threading.Thread(target=_end_with_parent, daemon=True).start()
        sys.stdout.buffer.write(msgspec.json.encode(make(chosen.one, chosen.precision)))
        sys.stdout.flush()
        os._exit(0)  # the thread still reads
    models = rows()
    names = [model.name for model in models]
    unknown = sorted(set(chosen.model) - set(names))
    if unknown:
        parser.error(f"no model {', '.join(unknown)} in {PROJECT}")
    return _run_all(models, chosen.model or names, chosen.precision, jobs=chosen.jobs, seconds=chosen.seconds)


def make(model: str, only: Sequence[str] = ()) -> _Made:
    """Export one model in every lane (of the precisions ``only``), in worker processes of this one."""
    pipeline = Pipeline.load(PROJECT)
    runs = []
    for exporter, target, precisions in offered(only):
        deploy = Deploy(model=model, targets=(target,), recipes=precisions, exporters=(exporter,))
        project = msgspec.structs.replace(pipeline.project, deploy=(deploy,))
        runs += dataclasses.replace(pipeline, project=project).export(target, jobs=1).runs
    return _Made(
        parameters=next((run.artifact.parameters for run in runs if run.artifact), None),
        cells=tuple(cell_of(run) for run in runs),
    )


def offered(only: Sequence[str] = ()) -> list[tuple[str, str, tuple[str, ...]]]:
    """Exporter, target and precisions, of ``LANES`` those that there are (and are among ``only``)."""
    lab = Lab(PROJECT.parent)
    found = []
    for exporter, (target, wanted) in LANES.items():
        there = {lane.precision for lane in lanes_of(lab.target(target)) if lane.exporter == exporter}
        precisions = tuple(precision for precision in wanted if precision in there and (not only or precision in only))
        if precisions:
            found.append((exporter, target, precisions))
    return found


def rows() -> list[Model]:
    """The models of the project file, with the first line of each function's docstring."""
    models = []
    for name, model in read_project(PROJECT).models.items():
        file, _, function = model.source.partition(":")
        tree = ast.parse((PROJECT.parent / file).read_text())
        made_by = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
        title = " ".join((ast.get_docstring(made_by) or "").partition("\n\n")[0].split())
        models.append(Model(name=name, family=file.removesuffix(".py"), title=title, parameters=None))
    return models


def _end_with_parent() -> None:
    while os.read(0, 4096):  # not sys.stdin: a thread in it would abort the interpreter at its end
        pass
    os._exit(1)


def _run_all(models: Sequence[Model], names: Sequence[str], only: Sequence[str], *, jobs: int, seconds: int) -> int:
    started, failed = time.monotonic(), []
    with ThreadPoolExecutor(jobs) as pool:
        waiting = {pool.submit(_in_process, name, only, seconds): name for name in names}
        for number, future in enumerate(as_completed(waiting), 1):
            name = waiting[future]
            made, complaint = future.result()
            if made is None:
                failed.append(name)
                print(f"[{number}/{len(names)}] {name}: {complaint}", flush=True)
                continue
            _write(models, name, made)
            works, elapsed = sum(cell.works for cell in made.cells), time.monotonic() - started
            print(f"[{number}/{len(names)}, {elapsed:.0f} s] {name}: {works} of {len(made.cells)} work", flush=True)
    print(f"{TABLE} and {PAGE} are written" + (f"; without {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def _in_process(name: str, only: Sequence[str], seconds: int) -> tuple[_Made | None, str]:
    """The model's cells, or why there are none."""
    command = [sys.executable, str(Path(__file__).resolve()), "--one", name]
    command += [word for precision in only for word in ("--precision", precision)]
    # One thread per library: two models at once on a few cores get in each other's way otherwise.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
    try:
        # Its stdin stays open: it ends when that closes, and so when this process ends.
        output, complaints = _read(process, seconds)
    except subprocess.TimeoutExpired:
        process.kill()  # its workers end with it
        process.wait()
        backends = {"executorch": "xnnpack", "tflite": "xnnpack", "coreml": "mlprogram"}
        lanes = [(e, backends[e], precision) for e, _, precisions in offered(only) for precision in precisions]
        return _Made(parameters=None, cells=tuple(late(name, lanes, seconds))), ""
    if process.returncode != 0:
        return None, complaints.decode(errors="replace").strip().rpartition("\n")[2]
    return msgspec.json.decode(output, type=_Made), ""


def _read(process: subprocess.Popen[bytes], seconds: int) -> tuple[bytes, bytes]:
    """Everything the process prints, without closing its stdin as ``communicate`` does.

    Raises:
        subprocess.TimeoutExpired: it has not ended in time.
    """
    with ThreadPoolExecutor(2) as readers:
        reading = [readers.submit(stream.read) for stream in (process.stdout, process.stderr) if stream is not None]
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return reading[0].result(), reading[1].result()


def _write(models: Sequence[Model], name: str, made: _Made) -> None:
    """Put the model's cells into the table, and write both files. Cells of models that are no longer there go."""
    before = read_zoo() if TABLE.is_file() else None
    made_now = {(cell.exporter, cell.precision) for cell in made.cells}
    kept = [c for c in (before.cells if before else ()) if c.model != name or (c.exporter, c.precision) not in made_now]
    order = [(exporter, precision) for exporter, (_, precisions) in LANES.items() for precision in precisions]
    cells = {
        model.name: sorted(
            (c for c in (*kept, *made.cells) if c.model == model.name and (c.exporter, c.precision) in order),
            key=lambda c: order.index((c.exporter, c.precision)),
        )
        for model in models
    }
    parameters = {model.name: model.parameters for model in (before.models if before else ())} | {name: made.parameters}
    zoo = Zoo(
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        edgedeploy=importlib.metadata.version("edgedeploy"),
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}",
        toolchain={name: importlib.metadata.version(name) for name in DISTRIBUTIONS},
        models=tuple(
            msgspec.structs.replace(model, parameters=parameters.get(model.name)) for model in models if cells[model.name]
        ),
        cells=tuple(cell for model in models for cell in cells[model.name]),
    )
    TABLE.write_bytes(msgspec.json.format(msgspec.json.encode(zoo), indent=1) + b"\n")
    PAGE.write_text(page(zoo))


if __name__ == "__main__":
    sys.exit(main())
