"""The history of runs in a database.

SQLAlchemy is heavy: import this module where it is used, not at the top of another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import msgspec
from sqlalchemy import Connection, Row, exc, func, insert, select

from edgedeploy.domain.history import PastComparison
from edgedeploy.domain.imported import Imported
from edgedeploy.domain.measurement import ProcessSamples
from edgedeploy.domain.mode import Mode
from edgedeploy.domain.result import RunResult
from edgedeploy.errors import UsageError
from edgedeploy.results.database import Database
from edgedeploy.results.documents import Documents
from edgedeploy.results.rows import process_rows, run_row, to_process, to_run
from edgedeploy.results.tables import COMPARISONS, IMPORTS, PROCESSES, RUNS

_CANDIDATES_SHOWN = 5
# SQLite refuses more than 32,766 parameters, older builds more than 999.
_IDS_PER_QUERY = 500


class ResultStore:
    """Runs with all their samples, and, apart from them, what else is kept of a project."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.comparisons = Documents(database, COMPARISONS, PastComparison)
        self.imports = Documents(database, IMPORTS, Imported)

    @classmethod
    def open(cls, url: str) -> Self:
        """The store in the database at a URL, as :meth:`edgedeploy.results.database.Database.open` opens it."""
        return cls(Database.open(url))

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def add(self, run: RunResult) -> None:
        """Keep a run, in one transaction. A run whose id is there already changes nothing.

        Raises:
            UsageError: the database cannot be written.
        """
        try:
            with self._database.transaction() as connection:
                connection.execute(insert(RUNS), [run_row(run)])
                rows = process_rows(run)
                if rows:
                    connection.execute(insert(PROCESSES), rows)
        except exc.IntegrityError as error:
            if not self._rows(run.id):
                raise self._database.unusable(error) from error

    def runs(
        self,
        *,
        project: str | None = None,
        model: str | None = None,
        target: str | None = None,
        device: str | None = None,
        lane: str | None = None,
        mode: Mode | None = None,
        limit: int = 50,
    ) -> tuple[RunResult, ...]:
        """Runs, newest first. Every filter given has to be equal; ``lane`` is a lane's id."""
        query = select(RUNS).order_by(RUNS.c.created_us.desc(), RUNS.c.id.desc()).limit(limit)
        wanted = {"project": project, "model": model, "target": target, "device": device, "lane": lane, "mode": mode}
        for column, value in wanted.items():
            if value is not None:
                query = query.where(RUNS.c[column] == value)
        with self._database.transaction() as connection:
            return self._read(connection, connection.execute(query).all())

    def run(self, id_or_unique_prefix: str) -> RunResult:
        """One run, by its id or by as much of its beginning as no other run shares.

        Raises:
            UsageError: no run or several runs begin like that.
        """
        rows = self._rows(id_or_unique_prefix) or self._rows_by_prefix(id_or_unique_prefix)
        if not rows:
            raise UsageError(
                f"no run {id_or_unique_prefix!r}",
                where=self._database.place,
                next_step="`edgedeploy history` lists the runs with their ids",
            )
        if len(rows) > 1:
            raise UsageError(
                f"several runs begin with {id_or_unique_prefix!r}",
                where=self._database.place,
                seen=", ".join(str(row.id) for row in rows),
                next_step="give more of the id",
            )
        with self._database.transaction() as connection:
            return self._read(connection, rows)[0]

    def _rows(self, run_id: str) -> Sequence[Row[tuple[object, ...]]]:
        with self._database.transaction() as connection:
            return connection.execute(select(RUNS).where(RUNS.c.id == run_id)).all()

    def _rows_by_prefix(self, prefix: str) -> Sequence[Row[tuple[object, ...]]]:
        if not prefix:
            return ()
        # Not LIKE: SQLite's ignores case, and ids may hold its wildcards.
        query = select(RUNS).where(func.substr(RUNS.c.id, 1, len(prefix)) == prefix).limit(_CANDIDATES_SHOWN)
        with self._database.transaction() as connection:
            return connection.execute(query).all()

    def _read(self, connection: Connection, rows: Sequence[Row[tuple[object, ...]]]) -> tuple[RunResult, ...]:
        processes: defaultdict[str, list[ProcessSamples]] = defaultdict(list)
        ids = [str(row.id) for row in rows]
        current = ""
        try:
            for start in range(0, len(ids), _IDS_PER_QUERY):
                chunk = ids[start : start + _IDS_PER_QUERY]
                query = select(PROCESSES).where(PROCESSES.c.run_id.in_(chunk)).order_by(PROCESSES.c.position)
                for process in connection.execute(query).mappings():
                    current = str(process["run_id"])
                    processes[current].append(to_process({str(name): value for name, value in process.items()}))
            found = []
            for row in rows:
                current = str(row.id)
                found.append(
                    to_run(
                        str(row.document),
                        tuple(processes[current]),
                        samples_from_processes=bool(row.samples_from_processes),
                    )
                )
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise UsageError(
                f"run {current!r} in the history cannot be read",
                where=self._database.place,
                seen=str(error),
                next_step="upgrade edgedeploy if a newer version wrote it; otherwise restore the database from a copy",
            ) from error
        return tuple(found)
