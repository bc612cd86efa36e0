"""A DAG for each client of a project: check, bronze, silver, gold, every day (Airflow 3).

A client is a profile, `profiles/<name>.toml` of the project; its DAG is `medalha_<name>`. From the environment:

- MEDALHA_PROJECT: the folder that holds pipelines/ and profiles/, default /srv/medalha
- MEDALHA_BIN: the program, default `pipeline` on the PATH
- MEDALHA_SCHEDULE: when, default @daily

Logs are the program's own: positions and counts, no texts of people. A profile's secrets come from the environment of
the worker or from files that only its user may read.
"""

import logging
import os
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException

PROJECT = Path(os.environ.get("MEDALHA_PROJECT", "/srv/medalha"))
PIPELINE = os.environ.get("MEDALHA_BIN", "pipeline")
SCHEDULE = os.environ.get("MEDALHA_SCHEDULE", "@daily")
STAGES = ["bronze", "silver", "gold"]

# What another try cannot put right: the command, a pipeline or a profile is wrong; an expectation does not hold.
FINAL = {2: "wrong use, or a pipeline or profile that does not check", 3: "an expectation of severity fail"}
LEASE_HELD = 4

log = logging.getLogger(__name__)


def run_pipeline(*args: str) -> None:
    """Runs the program to its end; its exit code decides whether the task is tried again."""
    command = [PIPELINE, "--project", str(PROJECT), *args]
    log.info("%s", " ".join(command))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            for line in process.stdout:
                log.info("%s", line.rstrip())
        except BaseException:
            # A task that is stopped stops its run; the next one goes on as if nothing had happened.
            process.terminate()
            raise
    code = process.returncode
    if code in FINAL:
        raise AirflowFailException(f"exit code {code}: {FINAL[code]}")
    if code == LEASE_HELD:
        raise AirflowException("exit code 4: another run is at work on this lake; later again")
    if code != 0:
        raise AirflowException(f"exit code {code}: failed; tables that succeeded stay, the next try goes on from there")


def client_dag(profile: str) -> DAG:
    """The stages of one client, in order."""
    with DAG(
        dag_id=f"medalha_{profile}",
        description=f"The lake of {profile}: check, bronze, silver, gold.",
        schedule=SCHEDULE,
        start_date=datetime(2024, 1, 1, tzinfo=timezone.utc),
        # A run takes all that is new: days that were missed need no run of their own.
        catchup=False,
        # Two runs would only wait for each other's lease.
        max_active_runs=1,
        default_args={
            "retries": 5,
            "retry_delay": timedelta(minutes=5),
            "retry_exponential_backoff": True,
            "max_retry_delay": timedelta(hours=1),
        },
        tags=["medalha"],
    ) as dag:

        @task
        def check() -> None:
            run_pipeline("check")

        @task
        def refresh(stage: str) -> None:
            run_pipeline("run", "--profile", profile, "--stage", stage, "--retries", "3", "--retry-wait", "30s")

        before = check()
        for stage in STAGES:
            step = refresh.override(task_id=stage)(stage)
            before >> step
            before = step
    return dag


for file in sorted((PROJECT / "profiles").glob("*.toml")):
    globals()[f"medalha_{file.stem}"] = client_dag(file.stem)
