"""Who is measured: the program, and its peers at the same work."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

from measure import Failed, check, fresh, run

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "medalha"

PEERS = {"duckdb": "DuckDB + deltalake", "polars": "Polars + deltalake"}

# What is compared with the truth, a table.
FOUND = """
SELECT
  (SELECT COUNT(*) FROM bronze.exam_events) AS exam_records,
  (SELECT COUNT(*) FROM silver.exams) AS exams,
  (SELECT COUNT(*) FROM silver.exam_labels) AS labels,
  (SELECT COUNT(*) FROM silver.quarantine) AS quarantined,
  (SELECT COUNT(*) FROM silver.reports) AS reports,
  (SELECT COUNT(*) FROM gold.exam_label_consensus) AS consensus,
  (SELECT CAST(COALESCE(SUM(score), 0) AS BIGINT) FROM gold.exam_label_consensus) AS score
"""


class Pipeline:
    """The program."""

    name = "pipeline"

    def __init__(self, binary):
        self.binary = binary

    def run(self, data, lake, *more):
        """`pipeline run`."""
        return self.command(lake, "--data", data, "run", "--pipeline", "imaging", "--format", "json", *more)

    def full(self, data, lake, truth):
        """A run over everything into a new lake, whose tables are compared with the truth."""
        usage = self.run(data, fresh(lake))
        self.verify(lake, truth)
        return usage

    def verify(self, lake, truth, names=None):
        """Compares the tables with the truth, or what it says of some names."""
        found = self.query(lake, FOUND)[1][0]
        check("pipeline", {name: found[name] for name in names or found}, truth)

    def query(self, lake, query, **params):
        """`pipeline query`: what it took, and the rows."""
        params = [part for name, value in params.items() for part in ("--param", f"{name}={value}")]
        usage = self.command(lake, "query", query, *params, "--format", "json")
        return usage, json.loads(usage.output)

    def command(self, lake, *args):
        return run([self.binary, "--project", PROJECT, "--lake", lake, *args])


class Peer:
    """Another engine, by its script in peers/."""

    def __init__(self, name):
        self.name = name
        self.python = environment() / "bin" / "python"

    def full(self, data, lake, truth):
        """The same as the program's."""
        usage = run([self.python, HERE / "peers" / f"{self.name}_delta.py", data, fresh(lake)])
        check(self.name, json.loads(usage.output), truth)
        return usage


def environment():
    """Python with the pinned peers, outside of the checkout; made when it is not there or has other versions."""
    place, wanted = CACHE / "benches", HERE / "requirements.txt"
    stamp = place / "stamp"
    if not stamp.exists() or stamp.read_bytes() != wanted.read_bytes():
        subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
        pip = [place / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", wanted]
        subprocess.run(pip, check=True)
        # Written last: an environment without it was not finished.
        shutil.copy(wanted, stamp)
    return place


def built():
    """The program, built as it is shipped."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", CACHE / "target"))
    build = ["cargo", "build", "--release", "--locked", "--bin", "pipeline", "--target-dir", target]
    if subprocess.run(build, cwd=PROJECT).returncode:
        raise Failed("the program does not build")
    return target / "release" / "pipeline"
