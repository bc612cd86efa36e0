#!/usr/bin/env python3
"""Makes exam and report events of any size in the delivered shape, with the truth that a right program finds in them.

usage: generate.py OUT --exams N [--start ID] [--per-file K] [--seed S]

Writes OUT/exam/*.json and OUT/medical_report/*.json, arrays of K records each, and OUT/truth.json. The same arguments give
the same bytes. One event in 100 is bad or comes again: without its id, the same once more, or followed by an older one.
"""
import argparse
import json
import multiprocessing
import pathlib
import random
from collections import Counter

BODY_PARTS = ["CHEST", "BREAST", "ABDOMEN", "PELVIS", "LSPINE", "HAND", "FOOT", "UP_EXM", "LOW_EXM"]
CLASSES = ["covid19", "pneumonia", "edema", "mass", "hernia", "tumor"]
METHODS = ["physician", "ml_model"]
WEIGHTS = {"physician": 10, "ml_model": 5}
SOURCES = ["hospital ABC", "first institute"]
LABELLERS = ["Beatriz Guimarães", "Caio Figueiredo", "Lívia Rezende", "Antônio Vasconcelos", "Pietra Campos", "Fernando Nunes"]
WORDS = (
    "sem alterações significativas área cardíaca normal seios costofrênicos livres ausência de consolidação derrame pleural"
    " nódulo pulmonar opacidade em vidro fosco estruturas ósseas íntegras discreto bilateral controle recomendado"
).split()
MONTHS = [f"{year}-{month:02}" for year in (2020, 2021) for month in range(1, 13)]

# One event in so many is bad or comes again, in one of these ways by turns.
ODD_EVERY = 100
ODD = ["no id", "again", "older"]

# What the first question asks for; the second asks for chest exams with more labels than this.
MONTH, MORE_THAN = "2021-12", 5


class Label:
    """A label, as it is delivered and as it counts."""

    def __init__(self, draw):
        self.classification = draw.choice(CLASSES)
        self.method = draw.choice(METHODS)
        self.value = draw.random() < 0.5
        self.month = draw.choice(MONTHS)
        self.json = (
            f'{{"classification": "{self.classification}", "labelled_by": "{draw.choice(LABELLERS)}", '
            f'"labelled_date": "{self.month}-{draw.randrange(28) + 1:02}", "labelling_method": "{self.method}", '
            f'"classification_type": "binary", "value": {"true" if self.value else "false"}}}'
        )


def event(draw, number, labels, body_part, published, with_id=True):
    """One exam event."""
    study = draw.randrange(10**28)
    labels = ", ".join(label.json for label in labels)
    identity = f'"id": {number}, ' if with_id else ""
    return (
        f'{{"content": {{{identity}"source": ["{draw.choice(SOURCES)}"], "dataset_type": "private", "dataset": "batch", '
        f'"body_part": "{body_part}", "image_path": "gs://bench-bucket/xray/2.25.{study}.1.{number}.dcm", '
        f'"labels": [{labels}]}}, "publication_timestamp": {published}}}'
    )


def report(draw, number):
    """One report event."""
    text = " ".join(draw.choices(WORDS, k=38))
    return (
        f'{{"content": {{"exam_id": {number}, "report_date": "{draw.choice(MONTHS)}-{draw.randrange(28) + 1:02}", '
        f'"reported_by": "{draw.choice(LABELLERS)}", "text": "{text}"}}}}'
    )


def consensus(labels):
    """The classes of an exam whose labels come to something, with what they come to."""
    sums = Counter()
    for label in labels:
        sums[label.classification] += WEIGHTS[label.method] * (1 if label.value else -1)
    return [total for total in sums.values() if total]


def count(truth, labels, body_part):
    """Adds an exam to the truth."""
    totals = consensus(labels)
    has = {label.classification for label in labels if label.value}
    in_month = any(label.classification == "covid19" and label.value and label.month == MONTH for label in labels)
    truth["exams"] += 1
    truth["labels"] += len(labels)
    truth["consensus"] += len(totals)
    truth["score"] += sum(map(abs, totals))
    truth["covid_not_pneumonia"] += in_month and "pneumonia" not in has
    truth["chest_many_labels"] += body_part == "CHEST" and len(labels) > MORE_THAN


def write_file(task):
    """Writes a file of exams and one of their reports; gives the truth of them."""
    out, first, last, seed, with_reports, newer = task
    draw = random.Random(f"{seed} {first}")
    truth, exams, reports = Counter(), [], []
    for number in range(first, last):
        labels = [Label(draw) for _ in range(draw.choice([0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9]))]
        body_part = draw.choice(BODY_PARTS)
        published = 1_600_000_000 + number / 2 + newer
        odd = ODD[number // ODD_EVERY % len(ODD)] if number % ODD_EVERY == 0 else None
        exams.append(event(draw, number, labels, body_part, published, odd != "no id"))
        if odd == "again":
            exams.append(exams[-1])
        elif odd == "older":
            exams.append(event(draw, number, [Label(draw)], "HAND", published - 5000))
        if odd == "no id":
            truth["quarantined"] += 1
        else:
            count(truth, labels, body_part)
        if with_reports:
            reports.append(report(draw, number))
    truth["exam_records"], truth["reports"] = len(exams), len(reports)
    for kind, records in (("exam", exams), ("medical_report", reports)):
        if records:
            path = out / kind / f"{kind}-{seed}-{first:010}.json"
            path.write_text("[" + ", ".join(records) + "]", encoding="utf-8")
    return truth


def generate(out, exams, start=1, per_file=10_000, seed=7, with_reports=True, newer=0):
    """Writes the files and the truth, which is also given back. `newer`: how many seconds later all events are published."""
    out = pathlib.Path(out)
    for kind in ("exam", "medical_report"):
        (out / kind).mkdir(parents=True, exist_ok=True)
    ends = range(start, start + exams, per_file)
    tasks = [(out, first, min(first + per_file, start + exams), seed, with_reports, newer) for first in ends]
    truth = Counter()
    with multiprocessing.Pool() as pool:
        for part in pool.imap_unordered(write_file, tasks, chunksize=max(1, len(tasks) // 200)):
            truth.update(part)
    truth = dict(sorted(truth.items()))
    # Written last: without it a folder is not whole.
    (out / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")
    return truth


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--exams", type=int, required=True)
    parser.add_argument("--start", type=int, default=1, help="the first id")
    parser.add_argument("--per-file", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    print(json.dumps(generate(args.out, args.exams, args.start, args.per_file, args.seed)))


if __name__ == "__main__":
    main()
