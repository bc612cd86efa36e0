"""Opens every table of a lake with deltalake and polars, and compares what they see with what `pipeline query` says.

Usage: check_lake.py PIPELINE LAKE, the program and a lake that runs of it made. Ends with exit code 1 and a line for each
difference.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

# What takes rows away in a change data feed; the other changes bring some.
TAKEN = ("delete", "update_preimage")


class Lake:
    def __init__(self, program: str, folder: str):
        self.program = program
        self.folder = Path(folder)
        self.problems: list[str] = []

    def names(self) -> list[str]:
        """All tables, as <stage>.<name>."""
        logs = self.folder.glob("*/*/_delta_log")
        return sorted(f"{log.parent.parent.name}.{log.parent.name}" for log in logs)

    def path(self, name: str) -> str:
        return str(self.folder / name.replace(".", "/"))

    def query(self, sql: str, *options: str) -> str:
        command = [self.program, "--lake", str(self.folder), "query", sql, *options]
        ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode != 0:
            raise SystemExit(f"{sql}: exit code {ended.returncode}: {ended.stderr.strip()}")
        return ended.stdout

    def count(self, name: str, version: int | None = None) -> int:
        as_of = [] if version is None else ["--as-of", f"{name}@{version}"]
        [row] = json.loads(self.query(f"SELECT COUNT(*) AS n FROM {name}", "--format", "json", *as_of))
        return row["n"]

    def rows(self, name: str) -> pa.Table:
        with tempfile.TemporaryDirectory() as folder:
            file = f"{folder}/rows.parquet"
            self.query(f"SELECT * FROM {name}", "--format", "parquet", "--output", file)
            return pq.read_table(file)

    def expect(self, what: str, found, expected) -> None:
        if found != expected:
            self.problems.append(f"{what}: {found!r}, expected {expected!r}")


def plain(kind: pa.DataType) -> str:
    """A type without what tells no reader anything: views and offsets of another width, names of list elements."""
    if pa.types.is_struct(kind):
        fields = (f"{field.name}: {plain(field.type)}" for field in kind)
        return f"struct<{', '.join(fields)}>"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_list_view(kind):
        return f"list<{plain(kind.value_type)}>"
    if pa.types.is_map(kind):
        return f"map<{plain(kind.key_type)}, {plain(kind.item_type)}>"
    return str(kind).removeprefix("large_").removesuffix("_view")


def types(schema: pa.Schema) -> dict[str, str]:
    return {field.name: plain(field.type) for field in schema}


def bag(table: pa.Table) -> list[str]:
    return sorted(map(repr, table.to_pylist()))


def check_contract(lake: Lake, name: str, table: DeltaTable) -> None:
    """What any reader may rely on: an old protocol, and words for the table and each column."""
    protocol = table.protocol()
    lake.expect(f"{name}: reader version", protocol.min_reader_version, 1)
    lake.expect(f"{name}: writer version is at most 4", protocol.min_writer_version <= 4, True)
    lake.expect(f"{name}: has a description", bool(table.metadata().description), True)
    silent = [field.name for field in table.schema().fields if not field.metadata.get("comment")]
    lake.expect(f"{name}: columns without a description", silent, [])


def check_rows(lake: Lake, name: str, table: DeltaTable) -> None:
    """The newest version: the same rows and types everywhere."""
    told, count = lake.rows(name), lake.count(name)
    seen = table.to_pyarrow_table()
    lake.expect(f"{name}: types in deltalake", types(seen.schema), types(told.schema))
    lake.expect(f"{name}: rows in deltalake", len(seen), count)
    lake.expect(f"{name}: deltalake reads the same rows", bag(seen) == bag(told.select(seen.column_names)), True)
    frame = pl.read_delta(lake.path(name))
    lake.expect(f"{name}: types in polars", dict(frame.schema), dict(pl.from_arrow(told).schema))
    lake.expect(f"{name}: rows in polars", frame.height, count)


def check_history(lake: Lake, name: str, table: DeltaTable) -> None:
    """Every version before: the same number of rows everywhere."""
    for version in range(table.version()):
        expected = lake.count(name, version)
        old = DeltaTable(lake.path(name), version=version).to_pyarrow_table()
        lake.expect(f"{name} at version {version}: rows in deltalake", len(old), expected)
        lazy = pl.scan_delta(lake.path(name), version=version)
        lake.expect(f"{name} at version {version}: rows in polars", lazy.collect().height, expected)


def check_changes(lake: Lake, name: str, table: DeltaTable) -> None:
    """The change data feed since the first version adds up to the rows that there are."""
    if table.metadata().configuration.get("delta.enableChangeDataFeed") != "true":
        return
    changes = pa.table(table.load_cdf(starting_version=0).read_all())
    signs = (-1 if change in TAKEN else 1 for change in changes.column("_change_type").to_pylist())
    lake.expect(f"{name}: sum of the change data feed", sum(signs), lake.count(name))


def main() -> None:
    _, program, folder = sys.argv
    lake = Lake(program, folder)
    names = lake.names()
    lake.expect("the lake has tables of each stage", {name.split(".")[0] for name in names},
                {"bronze", "silver", "gold", "ops"})
    versions = 0
    for name in names:
        table = DeltaTable(lake.path(name))
        versions += table.version() + 1
        for check in (check_contract, check_rows, check_history, check_changes):
            check(lake, name, table)
    for problem in lake.problems:
        print(f"error: {problem}", file=sys.stderr)
    if lake.problems:
        raise SystemExit(1)
    print(f"{len(names)} tables read by deltalake and polars as by the program, {versions} versions")


if __name__ == "__main__":
    main()
