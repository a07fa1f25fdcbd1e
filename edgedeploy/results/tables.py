"""The tables of a history, in the SQL that SQLite and PostgreSQL share.

The document of a run is JSON in a text column: a ``jsonb`` column would sort its keys and refuse a NUL character, and
what is stored has to come back as it was. What one searches by has a column of its own. Samples are integers in
little-endian int64, one blob per series: ``BLOB`` in SQLite and ``BYTEA`` in PostgreSQL take them unchanged, eight
bytes each, and any language reads them without a parser.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

SCHEMA_VERSION = 2
UPGRADES = {1: "ALTER TABLE edgedeploy_runs ADD COLUMN mode TEXT NOT NULL DEFAULT 'single'"}
"""What makes tables of an older version those of the next."""

METADATA = MetaData()

SCHEMA = Table(
    "edgedeploy_schema",
    METADATA,
    Column("version", Integer, primary_key=True, autoincrement=False),
)

RUNS = Table(
    "edgedeploy_runs",
    METADATA,
    Column("id", String(128), primary_key=True),
    # Microseconds since 1970 in UTC: text would sort by the writer's time zone and precision.
    Column("created_us", BigInteger, nullable=False),
    Column("project", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("recipe", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("mode", Text, nullable=False, server_default="single"),
    Column("status", Text, nullable=False),
    Column("latency_p50_ns", BigInteger),
    # True: the document's latency samples are those of the processes, one after the other, and left out of it.
    Column("samples_from_processes", Boolean, nullable=False),
    Column("document", Text, nullable=False),
    Index("edgedeploy_runs_newest", "created_us"),
    Index("edgedeploy_runs_series", "model", "target", "lane"),
)

PROCESSES = Table(
    "edgedeploy_processes",
    METADATA,
    Column("run_id", String(128), ForeignKey("edgedeploy_runs.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("load_ns", BigInteger, nullable=False),
    Column("first_inference_ns", BigInteger, nullable=False),
    Column("peak_rss_bytes", BigInteger, nullable=False),
    Column("rss_before_load_bytes", BigInteger, nullable=False),
    Column("warmup_ns", LargeBinary, nullable=False),
    Column("latency_ns", LargeBinary, nullable=False),
)


def _documents(name: str) -> Table:
    """A table of documents that no run depends on. It came after version 1, and is made when the first one is kept.

    ``bulk`` is what a list does without.
    """
    return Table(
        name,
        MetaData(),
        Column("id", String(128), primary_key=True),
        Column("created_us", BigInteger, nullable=False),
        Column("project", Text, nullable=False),
        Column("model", Text, nullable=False),
        Column("target", Text, nullable=False),
        Column("device", Text, nullable=False),
        Column("document", Text, nullable=False),
        Column("bulk", LargeBinary, nullable=False),
        Index(f"{name}_newest", "created_us"),
    )


COMPARISONS = _documents("edgedeploy_comparisons")
IMPORTS = _documents("edgedeploy_imports")
