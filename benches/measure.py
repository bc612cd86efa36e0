"""Runs a program and says what it took; says what machine this is."""
import dataclasses
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time


@dataclasses.dataclass(frozen=True)
class Usage:
    """What a process took."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    output: str


class Failed(Exception):
    """A program that failed, or found something else than the truth: no figure of it counts."""


def run(command):
    """Runs a command to its end; its standard output is given back, what it writes to standard error is told if it fails."""
    command = [str(part) for part in command]
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process:
        output = process.stdout.read()
        # wait4 alone tells what this one process took.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - begun
        errors.seek(0)
        told = errors.read().decode(errors="replace")[-3000:]
    if process.returncode:
        raise Failed(f"{' '.join(command)}: exit code {process.returncode}\n{told}")
    return Usage(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output.decode())


def median(usages):
    """The medians of several runs."""
    middle = lambda name: statistics.median(getattr(usage, name) for usage in usages)
    return Usage(middle("seconds"), middle("cpu_seconds"), middle("peak_mb"), "")


def check(what, found, truth):
    """Compares what was found with the truth, by its names."""
    wrong = {name: (found[name], truth.get(name, 0)) for name in found if found[name] != truth.get(name, 0)}
    if wrong:
        told = ", ".join(f"{name} is {got}, not {wanted}" for name, (got, wanted) in wrong.items())
        raise Failed(f"{what}: wrong result: {told}")


def size(folder, pattern="*"):
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in pathlib.Path(folder).rglob(pattern) if file.is_file())


def warm(folder):
    """Reads all files once, so that nobody is the first to read them."""
    for file in pathlib.Path(folder).rglob("*.json"):
        with file.open("rb") as stream:
            while stream.read(1 << 22):
                pass


def fresh(folder):
    """The folder, empty."""
    shutil.rmtree(folder, ignore_errors=True)
    pathlib.Path(folder).mkdir(parents=True)
    return pathlib.Path(folder)


def progress(text):
    """Says what is being done."""
    print(f"… {text}", file=sys.stderr, flush=True)


def first_line(path, start):
    lines = (line for line in pathlib.Path(path).read_text().splitlines() if line.startswith(start))
    return next(lines, ":").partition(":")[2].strip()


def machine(work):
    """The machine, in one line."""
    cores = len(os.sched_getaffinity(0))
    memory = int(first_line("/proc/meminfo", "MemTotal").split()[0]) / (1 << 20)
    model = first_line("/proc/cpuinfo", "model name") or platform.machine()
    kind = subprocess.run(["stat", "--file-system", "--format=%T", str(work)], capture_output=True, text=True).stdout.strip()
    return f"{model}, {cores} of {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, {kind}, load {os.getloadavg()[0]:.1f}"
