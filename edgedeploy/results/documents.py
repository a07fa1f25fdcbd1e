"""Documents beside runs, one kind in one table: kept, listed, found again."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

import msgspec
from sqlalchemy import Table, exc, func, insert, inspect, select

from edgedeploy.decoding import decode
from edgedeploy.errors import UsageError
from edgedeploy.results.database import Database
from edgedeploy.results.rows import microseconds


class Kept(Protocol):
    """What a document has to say of itself to be found."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def created_at(self) -> str: ...  # noqa: D102
    @property
    def project(self) -> str: ...  # noqa: D102
    @property
    def model(self) -> str: ...  # noqa: D102
    @property
    def target(self) -> str: ...  # noqa: D102
    @property
    def device(self) -> str: ...  # noqa: D102


T = TypeVar("T", bound=Kept)


class Documents(Generic[T]):
    """All documents of a kind. The table is made when the first one is added; until then there are none."""

    def __init__(self, database: Database, table: Table, kind: type[T]) -> None:
        self._database = database
        self._table = table
        self._kind = kind

    def add(self, item: T, bulk: bytes = b"") -> bool:
        """Keep a document, and ``bulk``, which :meth:`bulk` gives back. False: one with its id is there already, and stays.

        Raises:
            UsageError: the database cannot be written.
        """
        self._database.make(self._table.metadata)
        values = {
            "id": item.id,
            "created_us": microseconds(item.created_at),
            "project": item.project,
            "model": item.model,
            "target": item.target,
            "device": item.device,
            "document": msgspec.json.encode(item).decode(),
            "bulk": bulk,
        }
        try:
            with self._database.transaction() as connection:
                connection.execute(insert(self._table).values(values))
        except exc.IntegrityError:
            return False
        return True

    def newest(
        self,
        *,
        project: str | None = None,
        model: str | None = None,
        target: str | None = None,
        device: str | None = None,
        limit: int = 50,
    ) -> tuple[T, ...]:
        """Documents, newest first. Every filter given has to be equal.

        Raises:
            UsageError: the database cannot be used, or another version of edgedeploy wrote a document.
        """
        table = self._table
        query = select(table.c.id, table.c.document).order_by(table.c.created_us.desc(), table.c.id.desc()).limit(limit)
        for column, value in {"project": project, "model": model, "target": target, "device": device}.items():
            if value is not None:
                query = query.where(table.c[column] == value)
        with self._database.transaction() as connection:
            rows = connection.execute(query).all() if inspect(connection).has_table(table.name) else []
        return tuple(self._read(str(row.id), str(row.document)) for row in rows)

    def starting_with(self, prefix: str) -> tuple[tuple[T, bytes], ...]:
        """Documents with their bulk whose id begins like that; none begins with nothing.

        Raises:
            UsageError: as :meth:`newest`.
        """
        if not prefix:
            return ()
        table = self._table
        query = select(table).where(func.substr(table.c.id, 1, len(prefix)) == prefix)
        with self._database.transaction() as connection:
            rows = connection.execute(query).all() if inspect(connection).has_table(table.name) else []
        return tuple((self._read(str(row.id), str(row.document)), bytes(row.bulk)) for row in rows)

    def _read(self, document_id: str, document: str) -> T:
        try:
            return decode(document, self._kind)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise UsageError(
                f"{document_id!r} in the history cannot be read",
                where=f"{self._database.place}: {self._table.name}",
                seen=str(error),
                next_step="upgrade edgedeploy if a newer version wrote it; otherwise restore the database from a copy",
            ) from error
