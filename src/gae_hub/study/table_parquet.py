"""Tables as Parquet files: one row per row and column of the table."""

__all__ = ["parquet_bytes"]

import json
from typing import Any

from .table import Column, Entry, Row, Table


def parquet_bytes(table: Table) -> bytes:
    """A Parquet file with one row per row and column of the table that hold a value, or say why there is none.

    Values are not scaled: `value * scale` is what the table prints. `fields` and `passport` are JSON.
    """
    import pyarrow
    import pyarrow.parquet

    text, number, integer = pyarrow.string(), pyarrow.float64(), pyarrow.int64()
    types = {
        "latent_dim": integer,
        "configuration": integer,
        "num_seeds": integer,
        "seed_values": pyarrow.list_(number),
    }
    types |= dict.fromkeys(("value", "std", "low", "high", "scale"), number)
    rows = [
        _record(table, row, column, entry)
        for row in table.rows
        for column, entry in zip(table.columns, row.entries, strict=True)
        if entry.value is not None or entry.missing
    ]
    schema = pyarrow.schema([(name, types.get(name, text)) for name in RECORD])
    columns = [pyarrow.array([row[i] for row in rows], field.type) for i, field in enumerate(schema)]
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays(columns, schema=schema), sink)
    return sink.getvalue().to_pybytes()


RECORD = (
    "table",
    "method",
    "sampler",
    "network",
    "dataset",
    "latent_dim",
    "configuration",
    "fields",
    "metric",
    "number",
    "source",
    "value",
    "std",
    "low",
    "high",
    "interval_of",
    "num_seeds",
    "seed_values",
    "unit",
    "scale",
    "better",
    "mark",
    "missing",
    "reason",
    "passport",
)


def _record(table: Table, row: Row, column: Column, entry: Entry) -> tuple[Any, ...]:
    """Values of `RECORD` for an entry."""
    setup = row.setup or column.setup
    low, high = entry.interval or (None, None)
    return (
        table.name,
        row.method,
        row.sampler,
        setup.network if setup else None,
        setup.dataset if setup else None,
        setup.latent_dim if setup else None,
        entry.configuration,
        _json(entry.fields),
        column.metric,
        column.number.format(sampler=row.sampler) if column.number else None,
        column.source,
        entry.value,
        entry.spread,
        low,
        high,
        entry.interval_kind,
        len(entry.values) or None,
        list(entry.values),
        column.unit,
        column.scale,
        column.better,
        entry.mark,
        entry.missing,
        entry.reason,
        _json(entry.passport),
    )


def _json(value: dict[str, Any]) -> str | None:
    return json.dumps(value, sort_keys=True, default=str) if value else None
