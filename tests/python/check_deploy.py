"""deploy/ and docker-compose.yml: every command in them is one that the program takes, and they say what they should.

Usage: check_deploy.py PIPELINE REPOSITORY
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from configparser import ConfigParser
from pathlib import Path

import yaml

BINARY, REPOSITORY = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()


def takes(command: str) -> bool:
    """Whether the program takes a command line: asked for help after all other flags, it has read those."""
    words = shlex.split(command)
    assert Path(words[0]).name == "pipeline", command
    asked = subprocess.run([BINARY, *words[1:], "--help"], capture_output=True, text=True)
    return asked.returncode == 0


def unit(path: Path) -> ConfigParser:
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(path)
    return parser


def check_systemd() -> None:
    folder = REPOSITORY / "deploy/systemd"
    service = unit(folder / "medalha@.service")["Service"]
    command = service["ExecStart"].replace("%i", "north")
    assert takes(command), command
    assert "--profile north" in command
    assert (service["SuccessExitStatus"], service["RestartPreventExitStatus"]) == ("4", "2 3")
    assert unit(folder / "medalha@.timer")["Timer"]["OnCalendar"]
    if shutil.which("systemd-analyze"):
        with tempfile.TemporaryDirectory() as work:
            for path in folder.glob("medalha@.*"):
                # The program need not be installed here.
                text = path.read_text().replace("/usr/local/bin/pipeline", str(BINARY))
                (Path(work) / path.name).write_text(text)
            names = [str(Path(work) / path.name) for path in folder.glob("medalha@.*")]
            verified = subprocess.run(["systemd-analyze", "verify", *names], capture_output=True, text=True)
            about = [line for line in verified.stderr.splitlines() if "medalha" in line]
            assert verified.returncode == 0 and not about, verified.stderr


def check_cron() -> None:
    lines = (REPOSITORY / "deploy/cron/medalha.cron").read_text().splitlines()
    jobs = [re.fullmatch(r"(?:\S+ ){5}medalha (pipeline [^>]*)>\S+", line) for line in lines if line[:1].isdigit()]
    assert len(jobs) == 2 and all(jobs), jobs
    for job in jobs:
        assert takes(job[1]), job[1]


def check_compose() -> None:
    path = REPOSITORY / "docker-compose.yml"
    compose = yaml.safe_load(path.read_text())
    services = compose["services"]
    default = {name: service for name, service in services.items() if "profiles" not in service}
    assert list(default) == ["pipeline"], "the default brings up one service"
    assert default["pipeline"]["network_mode"] == "none" and "depends_on" not in default["pipeline"]
    assert {name for name in services if name not in default} == {"pipeline-demo", "clinic", "s3", "bucket"}
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
        assert set(service.get("networks", [])) <= set(compose["networks"]), name
        named = [volume.split(":")[0] for volume in service.get("volumes", [])]
        assert {volume for volume in named if not volume.startswith(".")} <= set(compose["volumes"]), name
        assert "build" in service or not service["image"].endswith(("latest", ":")) and ":" in service["image"], name
        if name.startswith("pipeline"):
            command = re.search(r"pipeline [^;]*", service["command"][0])
            assert command and takes(command[0]), name
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "pipelines").symlink_to(REPOSITORY / "pipelines")
        (Path(work) / "profiles").symlink_to(REPOSITORY / "deploy/compose")
        checked = subprocess.run([BINARY, "--project", work, "check"], capture_output=True, text=True)
        assert checked.returncode == 0 and ", 1 profiles" in checked.stdout, checked.stdout + checked.stderr
    version = ["docker", "compose", "version"]
    if shutil.which("docker") and subprocess.run(version, capture_output=True).returncode == 0:
        config = ["docker", "compose", "--file", path, "--profile", "demo", "config", "--format", "json"]
        told = subprocess.run(config, check=True, capture_output=True, text=True).stdout
        assert set(json.loads(told)["services"]) == set(services)


assert not takes("pipeline run --no-such-flag"), "a flag that is not there is not noticed"
assert not takes("pipeline run --retry-wait soon"), "a value that is wrong is not noticed"
check_systemd()
check_cron()
check_compose()
print("deploy: every command is one that the program takes")
