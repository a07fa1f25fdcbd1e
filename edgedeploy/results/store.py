"""The history of runs in a database: SQLite unless told otherwise, any SQLAlchemy URL if so.

SQLAlchemy is heavy: import this module where it is used, not at the top of another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from sqlalchemy import Connection, Engine, Row, create_engine, exc, func, insert, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.schema import CreateIndex, CreateTable

from edgedeploy.domain.measurement import ProcessSamples
from edgedeploy.domain.result import RunResult
from edgedeploy.errors import MissingToolError, UsageError
from edgedeploy.results.rows import process_rows, run_row, to_process, to_run
from edgedeploy.results.tables import METADATA, PROCESSES, RUNS, SCHEMA, SCHEMA_VERSION

# Adding a run takes milliseconds; whoever waits this long is behind a stuck process, not behind a queue.
_BUSY_TIMEOUT_S = 30
_CANDIDATES_SHOWN = 5
# SQLite refuses more than 32,766 parameters, older builds more than 999.
_IDS_PER_QUERY = 500


class ResultStore:
    """Runs with all their samples. Safe to use from several processes at once; not from several threads.

    SQLite keeps its rollback journal (no WAL): writes are short and rare, one file is easy to copy, and WAL does not
    work on network home folders.
    """

    def __init__(self, engine: Engine, place: str) -> None:
        self._engine = engine
        self._place = place

    @classmethod
    def open(cls, url: str) -> Self:
        """Open a history; tables, and for SQLite the file and its folder, are made when they are not there.

        Raises:
            UsageError: the URL makes no sense, the file is not a database or not writable, or its tables are of another
                version of edgedeploy.
            MissingToolError: the database's driver is not installed.
        """
        parsed = _parse(url)
        place = _place_of(parsed)
        _make_folder(parsed, place)
        store = cls(_engine(parsed, place), place)
        try:
            store._prepare()
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

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
            with self._transaction() as connection:
                connection.execute(insert(RUNS), [run_row(run)])
                rows = process_rows(run)
                if rows:
                    connection.execute(insert(PROCESSES), rows)
        except exc.IntegrityError as error:
            if not self._rows(run.id):
                raise self._unusable(error) from error

    def runs(
        self,
        *,
        project: str | None = None,
        model: str | None = None,
        target: str | None = None,
        device: str | None = None,
        lane: str | None = None,
        limit: int = 50,
    ) -> tuple[RunResult, ...]:
        """Runs, newest first. Every filter given has to be equal; ``lane`` is a lane's id."""
        query = select(RUNS).order_by(RUNS.c.created_us.desc(), RUNS.c.id.desc()).limit(limit)
        wanted = {"project": project, "model": model, "target": target, "device": device, "lane": lane}
        for column, value in wanted.items():
            if value is not None:
                query = query.where(RUNS.c[column] == value)
        with self._transaction() as connection:
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
                where=self._place,
                next_step="`edgedeploy history` lists the runs with their ids",
            )
        if len(rows) > 1:
            raise UsageError(
                f"several runs begin with {id_or_unique_prefix!r}",
                where=self._place,
                seen=", ".join(str(row.id) for row in rows),
                next_step="give more of the id",
            )
        with self._transaction() as connection:
            return self._read(connection, rows)[0]

    def _rows(self, run_id: str) -> Sequence[Row[tuple[object, ...]]]:
        with self._transaction() as connection:
            return connection.execute(select(RUNS).where(RUNS.c.id == run_id)).all()

    def _rows_by_prefix(self, prefix: str) -> Sequence[Row[tuple[object, ...]]]:
        if not prefix:
            return ()
        # Not LIKE: SQLite's ignores case, and ids may hold its wildcards.
        query = select(RUNS).where(func.substr(RUNS.c.id, 1, len(prefix)) == prefix).limit(_CANDIDATES_SHOWN)
        with self._transaction() as connection:
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
                where=self._place,
                seen=str(error),
                next_step="upgrade edgedeploy if a newer version wrote it; otherwise restore the database from a copy",
            ) from error
        return tuple(found)

    def _prepare(self) -> None:
        """Make what is missing, and refuse tables of another version before anything is made in them."""
        if not self._has_schema():
            with self._transaction() as connection:
                for table in METADATA.sorted_tables:
                    connection.execute(CreateTable(table, if_not_exists=True))
                    for index in table.indexes:
                        connection.execute(CreateIndex(index, if_not_exists=True))
            try:
                with self._transaction() as connection:
                    connection.execute(insert(SCHEMA).values(version=SCHEMA_VERSION))
            except exc.IntegrityError:
                pass  # Another process, opening the same new history, was first.
        with self._transaction() as connection:
            versions = sorted(connection.execute(select(SCHEMA.c.version)).scalars())
        if versions != [SCHEMA_VERSION]:
            raise UsageError(
                "the history was written by another version of edgedeploy",
                where=self._place,
                seen=f"schema version {', '.join(map(str, versions)) or 'none'}, not {SCHEMA_VERSION}",
                next_step="upgrade edgedeploy (pip install -U edgedeploy), or move the history away or point "
                "EDGEDEPLOY_RESULTS_URL elsewhere to begin a new one",
            )

    def _has_schema(self) -> bool:
        from sqlalchemy import inspect

        with self._transaction() as connection:
            tables = inspect(connection)
            if not tables.has_table(SCHEMA.name):
                return False
            return connection.execute(select(func.count()).select_from(SCHEMA)).scalar_one() > 0

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except exc.IntegrityError:
            raise
        except exc.DBAPIError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: exc.DBAPIError) -> UsageError:
        return UsageError(
            "the history cannot be used",
            where=self._place,
            seen=str(error.orig).strip(),
            next_step="check that it is a database, writable and not full; restore it from a copy, move it away to "
            "begin a new one, or set EDGEDEPLOY_RESULTS_URL",
        )


def _parse(url: str) -> URL:
    try:
        return make_url(url)
    except (exc.ArgumentError, ValueError) as error:
        # The text itself may hold a password.
        raise UsageError(
            "the results URL cannot be read",
            where="[results] url or EDGEDEPLOY_RESULTS_URL",
            next_step="write it like sqlite:////absolute/path/history.sqlite or postgresql+psycopg://user@host/database",
        ) from error


def _place_of(url: URL) -> str:
    if url.get_backend_name() == "sqlite" and url.database:
        return url.database
    return url.render_as_string(hide_password=True)


def _is_file(url: URL) -> bool:
    name = url.database or ""
    return url.get_backend_name() == "sqlite" and bool(name) and not name.startswith((":memory:", "file:"))


def _make_folder(url: URL, place: str) -> None:
    if not _is_file(url):
        return
    try:
        Path(place).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            "the folder of the history cannot be made",
            where=place,
            seen=str(error),
            next_step="make it writable, or set EDGEDEPLOY_RESULTS_URL to another place",
        ) from error


def _engine(url: URL, place: str) -> Engine:
    try:
        if url.get_backend_name() == "sqlite":
            # IMMEDIATE takes the write lock at once: a read lock that wants to become one deadlocks, and SQLite answers
            # that with "database is locked" without waiting.
            settings: dict[str, object] = {"timeout": _BUSY_TIMEOUT_S, "isolation_level": "IMMEDIATE"}
            return create_engine(url, connect_args=settings)
        return create_engine(url)
    except exc.NoSuchModuleError as error:
        raise UsageError(
            "the results URL names an unknown kind of database",
            where=place,
            seen=str(error),
            next_step="use sqlite:/// or postgresql+psycopg://",
        ) from error
    except ModuleNotFoundError as error:
        raise MissingToolError(
            "the driver of the results database is not installed",
            where=place,
            seen=str(error),
            next_step=f"pip install {error.name}",
        ) from error
