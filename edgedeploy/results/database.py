"""A database with edgedeploy's tables in it: SQLite unless told otherwise, any SQLAlchemy URL if so.

SQLAlchemy is heavy: import this module where it is used, not at the top of another.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, Engine, MetaData, create_engine, exc, func, insert, inspect, select, text, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.schema import CreateIndex, CreateTable

from edgedeploy.errors import MissingToolError, UsageError
from edgedeploy.results.tables import METADATA, SCHEMA, SCHEMA_VERSION, UPGRADES

# Adding a run takes milliseconds; whoever waits this long is behind a stuck process, not behind a queue.
_BUSY_TIMEOUT_S = 30


class Database:
    """Transactions on a history. Safe to use from several processes at once; not from several threads.

    SQLite keeps its rollback journal (no WAL): writes are short and rare, one file is easy to copy, and WAL does not
    work on network home folders. ``place`` is what a user calls it.
    """

    def __init__(self, engine: Engine, place: str) -> None:
        self._engine = engine
        self.place = place

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
        database = cls(_engine(parsed, place), place)
        try:
            database._prepare()
        except BaseException:
            database.close()
            raise
        return database

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction, committed at its end.

        Raises:
            UsageError: the database cannot be used.
            sqlalchemy.exc.IntegrityError: what is added is there already.
        """
        try:
            with self._engine.begin() as connection:
                yield connection
        except exc.IntegrityError:
            raise
        except exc.DBAPIError as error:
            raise self.unusable(error) from error

    def make(self, tables: MetaData) -> None:
        """Make the tables that are not there yet.

        Raises:
            UsageError: the database cannot be written.
        """
        try:
            with self.transaction() as connection:
                for table in tables.sorted_tables:
                    connection.execute(CreateTable(table, if_not_exists=True))
                    for index in table.indexes:
                        connection.execute(CreateIndex(index, if_not_exists=True))
        except exc.IntegrityError:
            pass  # PostgreSQL says so where another process makes them at the same moment.

    def unusable(self, error: exc.DBAPIError) -> UsageError:
        """The error that a database's own is told as."""
        return UsageError(
            "the history cannot be used",
            where=self.place,
            seen=str(error.orig).strip(),
            next_step="check that it is a database, writable and not full; restore it from a copy, move it away to "
            "begin a new one, or set EDGEDEPLOY_RESULTS_URL",
        )

    def _prepare(self) -> None:
        """Make what is missing, and refuse tables of another version before anything is made in them."""
        if not self._has_schema():
            self.make(METADATA)
            try:
                with self.transaction() as connection:
                    connection.execute(insert(SCHEMA).values(version=SCHEMA_VERSION))
            except exc.IntegrityError:
                pass  # Another process, opening the same new history, was first.
        for version, change in UPGRADES.items():
            with self.transaction() as connection:
                # First the number: that locks the database, and only one of many that come at once finds the old one.
                moved = connection.execute(update(SCHEMA).where(SCHEMA.c.version == version).values(version=version + 1))
                if moved.rowcount:
                    connection.execute(text(change))
        with self.transaction() as connection:
            versions = sorted(connection.execute(select(SCHEMA.c.version)).scalars())
        if versions != [SCHEMA_VERSION]:
            raise UsageError(
                "the history was written by another version of edgedeploy",
                where=self.place,
                seen=f"schema version {', '.join(map(str, versions)) or 'none'}, not {SCHEMA_VERSION}",
                next_step="upgrade edgedeploy (pip install -U edgedeploy), or move the history away or point "
                "EDGEDEPLOY_RESULTS_URL elsewhere to begin a new one",
            )

    def _has_schema(self) -> bool:
        with self.transaction() as connection:
            tables = inspect(connection)
            if not tables.has_table(SCHEMA.name):
                return False
            return connection.execute(select(func.count()).select_from(SCHEMA)).scalar_one() > 0


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
