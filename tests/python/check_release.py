"""Reads every release of a lake as a whole, with the functions that the README shows, and compares with the program.

Usage: check_release.py PIPELINE LAKE, the program and a lake that runs of it made. Ends with exit code 1 and a line for each
difference.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def documented() -> dict:
    """The functions of the README's Python examples."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    source = "\n".join(block for block in blocks if "releases" in block)
    imports = [line for block in blocks for line in block.splitlines() if re.match(r"(import|from) ", line)]
    functions = re.findall(r"^def .*?(?=^\S|\Z)", source, re.DOTALL | re.MULTILINE)
    scope: dict = {}
    exec("\n".join(imports) + "\n" + "\n".join(functions), scope)
    return scope


def ask(program: str, lake: str, *arguments: str):
    command = [program, "--lake", lake, *arguments, "--format", "json"]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode != 0:
        raise SystemExit(f"{command}: exit code {ended.returncode}: {ended.stderr.strip()}")
    return json.loads(ended.stdout)


def main() -> None:
    _, program, lake = sys.argv
    functions = documented()
    problems = []
    releases = ask(program, lake, "release", "list")
    if len(releases) < 2 or not any(release["pinned"] for release in releases):
        problems.append(f"the lake should have two releases, one of them pinned: {releases!r}")
    for release in releases:
        number = release["release"]
        told = {member["table"]: member for member in ask(program, lake, "release", "show", str(number))["members"]}
        frames = functions["release"](number, lake)
        tables = functions["release_tables"](number, lake)
        if not set(told) == set(frames) == set(tables):
            problems.append(f"release {number}: tables {set(frames)!r} and {set(tables)!r}, expected {set(told)!r}")
            continue
        for name, member in told.items():
            [asked] = ask(program, lake, "query", f"SELECT COUNT(*) AS n FROM {name}", "--as-of", str(number))
            found = (tables[name].version(), len(tables[name].to_pyarrow_table()), frames[name].collect().height, asked["n"])
            expected = (member["version"], *[member["rows"]] * 3)
            if found != expected:
                problems.append(f"release {number}, {name}: {found!r}, expected {expected!r}")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if problems:
        raise SystemExit(1)
    print(f"{len(releases)} releases read as a whole by deltalake and polars as by the program")


if __name__ == "__main__":
    main()
