"""Loads built datasets as a data scientist would: mlcroissant, pyarrow, datasets, webdataset. The examples are tests.

Usage: check_dataset.py FOLDER..., each a dataset that `pipeline dataset build` made. Ends with exit code 1 and a line for
each difference.
"""

import contextlib
import glob
import io
import json
import os
import sys
import tempfile
from pathlib import Path

# Nothing is asked of any network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_CACHE"] = tempfile.mkdtemp()

import mlcroissant as mlc
import pyarrow.dataset as ds
import webdataset as wds
from datasets import disable_progress_bars, load_dataset


class Checked:
    """A dataset and what is wrong with it."""

    def __init__(self, folder: str):
        self.folder = Path(folder)
        self.manifest = json.loads((self.folder / "dataset.json").read_text(encoding="utf-8"))
        self.recipe = self.manifest["recipe"]
        self.rows = {split["name"]: split["rows"] for split in self.manifest["splits"]}
        self.problems: list[str] = []

    def expect(self, what: str, found, expected) -> None:
        if found != expected:
            self.problems.append(f"{self.folder.name}: {what}: {found!r}, expected {expected!r}")

    def ids(self, split: str) -> list:
        files = sorted(glob.glob(f"{self.folder}/data/{split}-*.parquet"))
        return ds.dataset(files).to_table(columns=[self.recipe["id"]]).column(0).to_pylist()


def check_croissant(checked: Checked) -> None:
    """The card is valid, and leads to the rows."""
    told = io.StringIO()
    with contextlib.redirect_stderr(told):
        dataset = mlc.Dataset(str(checked.folder / "croissant.json"))
    issues = dataset.metadata.ctx.issues
    checked.expect("errors of the Croissant card", sorted(issues.errors), [])
    checked.expect("warnings of the Croissant card", sorted(issues.warnings), [])
    listed = {file["path"]: file["sha256"] for file in checked.manifest["files"] if file["path"] != "croissant.json"}
    checked.expect("files of the card", {file.id: file.sha256 for file in dataset.metadata.distribution}, listed)
    for split in checked.rows:
        found = []
        for records in (r.id for r in dataset.metadata.record_sets if r.id.rsplit("-", 1)[0] == split):
            key = f"{records}/{checked.recipe['id']}"
            values = (record[key] for record in dataset.records(records))
            found.extend(value.decode() if isinstance(value, bytes) else value for value in values)
        checked.expect(f"ids of {split} by mlcroissant", found, checked.ids(split))


def check_rows(checked: Checked) -> None:
    """The rows by split, in pyarrow and in datasets."""
    files = {split: f"{checked.folder}/data/{split}-*.parquet" for split in checked.rows}
    loaded = load_dataset("parquet", data_files=files)
    for split, rows in checked.rows.items():
        checked.expect(f"rows of {split} in pyarrow", len(checked.ids(split)), rows)
        checked.expect(f"rows of {split} in datasets", loaded[split].num_rows, rows)
        checked.expect(f"ids of {split} in datasets", loaded[split][checked.recipe["id"]][:], checked.ids(split))
    ids = [row for split in checked.rows for row in checked.ids(split)]
    checked.expect("ids that are in the dataset twice", len(ids) - len(set(ids)), 0)


def check_shards(checked: Checked) -> None:
    """The shards hold a sample a row, with the original where it was copied."""
    if not checked.recipe["copy"]:
        return
    for split in checked.rows:
        files = sorted(glob.glob(f"{checked.folder}/data/{split}-*.parquet"))
        rows = {row[checked.recipe["id"]]: row for row in ds.dataset(files).to_table().to_pylist()}
        shards = sorted(glob.glob(f"{checked.folder}/shards/{split}-*.tar"))
        found = []
        for sample in wds.WebDataset(shards, shardshuffle=False, empty_check=False):
            row = json.loads(sample["json"])
            found.append(row[checked.recipe["id"]])
            member = rows[found[-1]]["original_member"]
            wanted = {"json"} if member is None else {"json", member.split(".", 1)[1]}
            checked.expect(f"members of a sample of {split}", {key for key in sample if key[0] != "_"}, wanted)
        checked.expect(f"samples of {split} in webdataset", found, checked.ids(split))


def main() -> None:
    disable_progress_bars()
    problems, rows, copied = [], 0, 0
    for folder in sys.argv[1:]:
        checked = Checked(folder)
        for check in (check_croissant, check_rows, check_shards):
            check(checked)
        problems += checked.problems
        rows += sum(checked.rows.values())
        copied += sum(split["originals"].get("copied", 0) for split in checked.manifest["splits"])
    if rows == 0 or copied == 0:
        problems.append(f"{rows} rows, {copied} originals: nothing was checked")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if problems:
        raise SystemExit(1)
    print(f"{len(sys.argv) - 1} datasets with {rows} rows and {copied} originals read by mlcroissant, pyarrow, datasets and webdataset")


if __name__ == "__main__":
    main()
