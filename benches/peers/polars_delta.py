#!/usr/bin/env python3
"""The work of the imaging pipeline with Polars and deltalake: raw events, their typed, latest and exploded tables, consensus.

usage: polars_delta.py DATA LAKE

Prints what it found, as one JSON object.
"""
import json
import pathlib
import sys

import polars as pl

LABEL = pl.Struct(
    {
        "classification": pl.String,
        "labelled_by": pl.String,
        "labelled_date": pl.String,
        "labelling_method": pl.String,
        "classification_type": pl.String,
        "value": pl.Boolean,
    }
)
EXAM = pl.Struct(
    {
        "id": pl.Int64,
        "source": pl.List(pl.String),
        "dataset_type": pl.String,
        "dataset": pl.String,
        "body_part": pl.String,
        "image_path": pl.String,
        "labels": pl.List(LABEL),
    }
)
REPORT = pl.Struct({"exam_id": pl.Int64, "report_date": pl.String, "reported_by": pl.String, "text": pl.String})


def main():
    data, lake = sys.argv[1:3]

    def events(folder, schema):
        files = sorted(pathlib.Path(data, folder).glob("*.json"))
        return pl.concat([pl.read_json(file, schema=schema).with_columns(source_file=pl.lit(str(file))) for file in files])

    def write(table, rows):
        rows.write_delta(f"{lake}/{table}", mode="overwrite")

    write("bronze/exam_events", events("exam", {"content": EXAM, "publication_timestamp": pl.Float64}))
    write("bronze/report_events", events("medical_report", {"content": REPORT}))

    event = pl.scan_delta(f"{lake}/bronze/exam_events").unnest("content").collect()
    quarantine = event.filter(pl.col("id").is_null())
    write("silver/quarantine", quarantine)
    latest = event.filter(pl.col("id").is_not_null()).sort("publication_timestamp").unique("id", keep="last")
    write("silver/exams", latest.with_columns(label_count=pl.col("labels").list.len()).drop("labels"))
    labels = latest.select(pl.col("id").alias("exam_id"), "labels").explode("labels").drop_nulls("labels").unnest("labels")
    labels = labels.with_columns(pl.col("labelled_date").str.to_date())
    write("silver/exam_labels", labels)
    reports = pl.scan_delta(f"{lake}/bronze/report_events").unnest("content").collect()
    reports = reports.with_columns(pl.col("report_date").str.to_date())
    write("silver/reports", reports)

    weight = pl.when(pl.col("labelling_method") == "physician").then(10).otherwise(5)
    consensus = (
        pl.scan_delta(f"{lake}/silver/exam_labels")
        .with_columns(weight=pl.when("value").then(weight).otherwise(-weight))
        .group_by("exam_id", "classification")
        .agg(total=pl.col("weight").sum())
        .filter(pl.col("total") != 0)
        .select("exam_id", "classification", value=pl.col("total") > 0, score=pl.col("total").abs())
        .collect()
    )
    write("gold/exam_label_consensus", consensus)
    found = {
        "exam_records": event.height,
        "exams": latest.height,
        "labels": labels.height,
        "quarantined": quarantine.height,
        "reports": reports.height,
        "consensus": consensus.height,
        "score": int(consensus["score"].sum()),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
