"""What does the process do that writes a Parquet file?

    python -m sidecar.integrations.parquet_process lines.jsonl table.parquet prompt=messages

It reads the lines piece by piece and writes row group by row group, so that its memory is
that of a row group, however many there are.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from polars.io.plugins import register_io_source

PIECE_BYTES = 500_000
GROUP_BYTES = 5_000_000
MOST_IN_GROUP = 5_000  # rows

_TYPES: dict[str, pl.DataType] = {
    "text": pl.String(),
    "bool": pl.Boolean(),
    "float": pl.Float64(),
    "int": pl.Int64(),
    "messages": pl.List(pl.Struct({"role": pl.String(), "content": pl.String()})),
}


def convert(lines: Path, table: Path, columns: dict[str, str]) -> None:
    """Write a table from lines of JSON, in their order."""
    schema = pl.Schema({name: _TYPES[kind] for name, kind in columns.items()})

    def source(
        with_columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        del with_columns, predicate, n_rows, batch_size  # all is asked for
        with lines.open("rb") as file:
            while piece := file.readlines(PIECE_BYTES):
                yield pl.read_ndjson(b"".join(piece), schema=schema)

    frame = register_io_source(source, schema=schema)
    frame.sink_parquet(table, row_group_size=_rows_in_group(lines))


def _rows_in_group(lines: Path) -> int:
    """Say how many rows make a group; the same for the same lines, as the file is to be."""
    with lines.open("rb") as file:
        count = sum(1 for _ in file)
    size = lines.stat().st_size
    return max(1, min(MOST_IN_GROUP, GROUP_BYTES * count // max(1, size)))


if __name__ == "__main__":
    convert(
        Path(sys.argv[1]), Path(sys.argv[2]), dict(word.split("=") for word in sys.argv[3:])
    )
