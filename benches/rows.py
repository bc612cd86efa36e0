"""The rows of the table: each a target, what was measured, and whether it is reached."""
import json
import os
import pathlib
import statistics
from dataclasses import dataclass

from contenders import PEERS
from generate import generate
from measure import Failed, check, fresh, median, progress, run, size, warm

# An increment's ids begin here, beyond those of any lake.
FAR = 1_000_000_000


@dataclass
class Row:
    """A row: the target holds when the figure is at most `most`, or at least `least`; without either nothing is asked for."""

    what: str
    figure: float
    unit: str = ""
    most: float | None = None
    least: float | None = None
    note: str = ""

    @property
    def target(self):
        if self.most is not None:
            return f"at most {self.most:g}{self.unit}"
        return f"at least {self.least:,g}{self.unit}" if self.least is not None else ""

    @property
    def holds(self):
        if self.most is None and self.least is None:
            return None
        return (self.most is None or self.figure <= self.most) and (self.least is None or self.figure >= self.least)


@dataclass
class Sizes:
    """How much of what, and how often."""

    exams: int
    rounds: int
    # Of what takes less than a second.
    short_rounds: int = 7
    # Exams of an increment.
    increment: int = 1000
    small_files: int = 20_000


class Bench:
    """What the measurements share: the contenders, the sizes and the folder that data and lakes lie in."""

    def __init__(self, pipeline, peers, work, sizes):
        self.pipeline, self.peers, self.work, self.sizes = pipeline, peers, pathlib.Path(work), sizes
        self.exams, self.rounds = sizes.exams, sizes.rounds
        self.lakes = {}

    def data(self, exams):
        """Data of a size, made when it is not there, and its truth."""
        folder = self.work / f"data-{exams}"
        truth = folder / "truth.json"
        if not truth.exists():
            progress(f"making {exams:,} exams and reports")
            fresh(folder)
            generate(folder, exams)
        return folder, json.loads(truth.read_text())

    def lake(self, exams):
        """A lake of a size, the folder that it is fed from, and the truth of it. Data are linked into that folder, so that
        increments can be added to it."""
        if exams not in self.lakes:
            data, truth = self.data(exams)
            feed, lake = fresh(self.work / f"feed-{exams}"), self.work / f"lake-{exams}"
            link(data, feed)
            progress(f"a lake of {exams:,} exams")
            self.pipeline.full(feed, lake, truth)
            self.lakes[exams] = (feed, lake, truth)
        return self.lakes[exams]

    def increment(self, exams, start):
        """Adds exams that are new to a lake's feed, runs, and compares the lake with the truth."""
        feed, lake, truth = self.lake(exams)
        self.deliver(feed, truth, self.sizes.increment, start)
        usage = self.pipeline.run(feed, lake)
        self.pipeline.verify(lake, truth)
        return usage

    def changing_increment(self, exams, start):
        """The same with exams of which half are known and newer: the last ones of the lake's own data."""
        feed, lake, truth = self.lake(exams)
        half = self.sizes.increment // 2
        self.deliver(feed, truth, half, start)
        known = generate(fresh(self.work / "increment"), half, exams - half + 1, seed=start + 1, newer=1000)
        link(self.work / "increment", feed)
        truth["exam_records"] += known["exam_records"]
        usage = self.pipeline.run(feed, lake)
        # What the labels of before were, the truth does not tell.
        self.pipeline.verify(lake, truth, ["exam_records", "exams"])
        return usage

    def deliver(self, feed, truth, exams, start):
        part = fresh(self.work / "increment")
        for name, rows in generate(part, exams, start, seed=start).items():
            truth[name] = truth.get(name, 0) + rows
        link(part, feed)


def link(data, feed):
    """Links files into another folder, under their own names."""
    for file in data.glob("*/*.json"):
        (feed / file.parent.name).mkdir(parents=True, exist_ok=True)
        os.link(file, feed / file.parent.name / file.name)


def full(bench):
    """Runs over everything, in turns with the peers."""
    data, truth = bench.data(bench.exams)
    warm(data)
    contenders = [bench.pipeline, *bench.peers]
    got = {contender.name: [] for contender in contenders}
    for number in range(bench.rounds):
        for contender in contenders:
            progress(f"round {number + 1} of {bench.rounds}: {contender.name}")
            got[contender.name].append(contender.full(data, bench.work / f"full-{contender.name}", truth))
    middle = {name: median(usages) for name, usages in got.items()}
    own = middle["pipeline"]
    yield Row(f"full run of {bench.exams:,}, wall", own.seconds, " s", note=f"CPU {own.cpu_seconds:.1f} s")
    yield Row(f"full run of {bench.exams:,}, peak memory", own.peak_mb, " MB")
    targets = {"duckdb": (0.4, 0.4), "polars": (0.2, None)}
    for peer in bench.peers:
        other, (seconds, memory) = middle[peer.name], targets[peer.name]
        # The ratios of each round, since a machine that is busy is so for both.
        ratio = statistics.median(a.seconds / b.seconds for a, b in zip(got["pipeline"], got[peer.name]))
        yield Row(f"… of {PEERS[peer.name]}", ratio, most=seconds, note=f"it takes {other.seconds:.2f} s")
        note = f"it takes {other.peak_mb:.0f} MB"
        yield Row(f"… peak memory of {PEERS[peer.name]}", own.peak_mb / other.peak_mb, most=memory, note=note)
    share = size(bench.work / "full-pipeline") / (size(data / "exam") + size(data / "medical_report"))
    yield Row("bytes in the lake, of the JSON's", share, most=0.35)


def larger(bench, times):
    """Runs over the exams, and one over so many times as many, which stands in their middle: a machine that is busier at one
    time than at another is so for both."""
    base, more = bench.data(bench.exams), bench.data(times * bench.exams)
    before = [base] * (bench.rounds // 2 + bench.rounds % 2)
    after = [base] * (bench.rounds // 2)
    usages = []
    for folder, facts in [*before, more, *after]:
        progress(f"a run over {facts['exams']:,} exams")
        warm(folder)
        usages.append(bench.pipeline.full(folder, bench.work / "full-larger", facts))
    large = usages.pop(len(before))
    return median(usages), large


def memory(bench):
    """Peak memory over four times as many exams."""
    base, more = larger(bench, 4)
    note = f"{more.peak_mb:.0f} MB of {base.peak_mb:.0f} MB"
    yield Row(f"peak memory at {4 * bench.exams:,}, of that at {bench.exams:,}", more.peak_mb / base.peak_mb, most=1.2, note=note)


def scaling(bench):
    """Time over ten times as many exams."""
    base, more = larger(bench, 10)
    note = f"{more.seconds:.1f} s of {base.seconds:.1f} s"
    what = f"full run from {bench.exams:,} to {10 * bench.exams:,}, of linear"
    yield Row(what, more.seconds / base.seconds / 10, most=1.1, note=note)


def increment(bench):
    """New exams on top of a lake, and of one a tenth as large, in turns; then exams of which the lake knows half."""
    sizes = (bench.exams, bench.exams // 10)
    got = {size: [] for size in sizes}
    for number in range(max(bench.rounds, 3)):
        for exams in sizes:
            bench.lake(exams)
            progress(f"increment {number + 1} on {exams:,}")
            got[exams].append(bench.increment(exams, FAR + number * bench.sizes.increment))
    large, small = (median(got[exams]) for exams in sizes)
    yield Row(f"increment of {bench.sizes.increment:,} on {bench.exams:,}", large.seconds, " s", most=1, note=f"{large.peak_mb:.0f} MB")
    what, note = f"… of the same on {bench.exams // 10:,}", f"{small.seconds:.2f} s there"
    yield Row(what, large.seconds / small.seconds, most=1.3, note=note)
    progress("an increment that changes known exams")
    usage = bench.changing_increment(bench.exams, 2 * FAR)
    yield Row("… half of them known and newer", usage.seconds, " s", note="once")


def nothing(bench):
    """A run with nothing new, which commits nothing."""
    feed, lake, _ = bench.lake(bench.exams)
    usages = []
    for _ in range(bench.sizes.short_rounds):
        usages.append(bench.pipeline.run(feed, lake))
        if json.loads(usages[-1].output)["release"] is not None:
            raise Failed("pipeline: a run with nothing new published a release")
    usage = median(usages)
    yield Row("a run with nothing new", usage.seconds, " s", most=0.15, note=f"{usage.peak_mb:.0f} MB")


def files(bench):
    """Files of one record, into bronze."""
    small_files = bench.sizes.small_files
    folder = bench.work / f"files-{small_files}"
    if not (folder / "truth.json").exists():
        progress(f"making {small_files:,} files")
        generate(fresh(folder), small_files, per_file=1, with_reports=False)
    truth = json.loads((folder / "truth.json").read_text())
    usages = []
    for _ in range(bench.rounds):
        lake = fresh(bench.work / "lake-files")
        usages.append(bench.pipeline.run(folder, lake, "--stage", "bronze"))
        found = bench.pipeline.query(lake, "SELECT COUNT(*) AS exam_records FROM bronze.exam_events")[1][0]
        check("pipeline", found, truth)
    usage = median(usages)
    rate = small_files / usage.seconds
    what = f"{small_files:,} files of one record, files a second in bronze"
    yield Row(what, rate, least=15_000, note=f"{usage.seconds:.2f} s")


QUESTIONS = {
    "exams_with_label_without_label": {"with": "Covid", "without": "Pneumonia", "month": "2021-12"},
    "exams_by_body_part": {"body_part": "Chest", "more_than": 5},
}


def questions(bench):
    """The two questions, process start included."""
    # A lake of its own size, or one with increments: the truth is that of the data.
    data, truth = bench.data(bench.exams)
    lake = bench.work / "lake-questions"
    bench.pipeline.full(data, lake, truth)
    first, second = QUESTIONS.items()
    found = {
        "covid_not_pneumonia": bench.pipeline.query(lake, first[0], **first[1])[1][0]["exams"],
        "chest_many_labels": len(bench.pipeline.query(lake, second[0], **second[1], limit=10**9)[1]),
    }
    check("pipeline", found, truth)
    for name, params in (first, second):
        usage = median([bench.pipeline.query(lake, name, **params)[0] for _ in range(bench.sizes.short_rounds)])
        yield Row(f"query {name}", usage.seconds, " s", most=0.15, note=f"{usage.peak_mb:.0f} MB")


MEASUREMENTS = {
    "full": full,
    "increment": increment,
    "nothing": nothing,
    "files": files,
    "questions": questions,
    "memory": memory,
    "scaling": scaling,
}
