"""deploy/airflow with the real Airflow: what it makes of the DAG file, and a run of all tasks with the real program.

Usage: check_airflow.py PIPELINE REPOSITORY
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from datetime import timedelta
from pathlib import Path

BINARY, REPOSITORY = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
DAGS = REPOSITORY / "deploy/airflow"
PROFILE = """description = "Client {name}."
lake = "{name}-lake"
data = "{data}"
pipelines = ["imaging"]
durability = "none"
"""


# Of Airflow's own parts; and nothing is written beside the DAG file.
warnings.simplefilter("ignore")
sys.dont_write_bytecode = True


def set_up(work: Path) -> None:
    """A project with two clients, one of whose data is missing, and an Airflow of its own: read when it is imported."""
    shutil.copytree(REPOSITORY / "pipelines", work / "pipelines")
    (work / "profiles").mkdir()
    (work / "profiles/north.toml").write_text(PROFILE.format(name="north", data=REPOSITORY / "data"))
    (work / "profiles/south.toml").write_text(PROFILE.format(name="south", data="missing"))
    os.environ |= {
        "AIRFLOW_HOME": str(work / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{work}/airflow.db",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "MEDALHA_PROJECT": str(work),
        "MEDALHA_BIN": str(BINARY),
    }
    # Next to this interpreter, whatever the PATH says.
    airflow = Path(sys.executable).with_name("airflow")
    subprocess.run([airflow, "db", "migrate"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def check_structure(dags) -> None:
    assert sorted(dags) == ["medalha_north", "medalha_south"], sorted(dags)
    for dag in dags.values():
        tasks = dag.topological_sort()
        assert [task.task_id for task in tasks] == ["check", "bronze", "silver", "gold"], tasks
        assert [sorted(task.upstream_task_ids) for task in tasks] == [[], ["check"], ["bronze"], ["silver"]]
        assert (dag.catchup, dag.max_active_runs) == (False, 1)
        assert dag.schedule == "@daily", dag.schedule
        for task in tasks:
            assert task.retries == 5 and task.retry_exponential_backoff, task
            assert (task.retry_delay, task.max_retry_delay) == (timedelta(minutes=5), timedelta(hours=1))
            assert task.trigger_rule == "all_success", task.trigger_rule


def query(work: Path, sql: str) -> str:
    command = [BINARY, "--project", work, "--profile", "north", "query", sql, "--format", "csv"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[1]


def check_run(work: Path, dag) -> None:
    """All tasks, one after the other, with the real program."""
    run = dag.test()
    states = {task.task_id: str(task.state) for task in run.get_task_instances()}
    assert states == dict.fromkeys(["check", "bronze", "silver", "gold"], "success"), states
    assert int(query(work, "SELECT COUNT(*) FROM gold.label_completeness")) > 0
    stages = query(work, "SELECT COUNT(DISTINCT run) FROM ops.runs WHERE status = 'done'")
    assert stages == "3", f"a run a stage, not {stages}"
    # What readers of releases see is what the last stage left, and nothing before it.
    assert query(work, "SELECT COUNT(DISTINCT release) FROM ops.releases") == "1"


def check_exit_codes(work: Path) -> None:
    """What an exit code does to a task: some are tried again, some are not."""
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    sys.path.insert(0, str(DAGS))
    from medalha_dag import run_pipeline

    def raised(*args: str) -> type:
        try:
            run_pipeline(*args)
        except AirflowException as error:
            return type(error), str(error)
        raise AssertionError(f"{args} did not fail")

    kind, text = raised("run", "--profile", "south")
    assert kind is AirflowException and "exit code 1" in text, text
    kind, text = raised("run", "--profile", "nobody")
    assert kind is AirflowFailException and "exit code 2" in text, text
    with open(work / "north-lake/_lease") as lease:
        fcntl.flock(lease, fcntl.LOCK_EX)
        kind, text = raised("run", "--profile", "north")
    assert kind is AirflowException and "exit code 4" in text, text


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        set_up(work)
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(str(DAGS))
        assert not bag.import_errors, bag.import_errors
        check_structure(bag.dags)
        check_run(work, bag.dags["medalha_north"])
        check_exit_codes(work)
    print("Airflow: the DAGs are imported, have their tasks in order, and run")


main()
