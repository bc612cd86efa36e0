#!/usr/bin/env python3
"""The work of the imaging pipeline with DuckDB and deltalake: raw events, their typed, latest and exploded tables, consensus.

usage: duckdb_delta.py DATA LAKE

Prints what it found, as one JSON object.
"""
import json
import sys

import duckdb
from deltalake import DeltaTable, write_deltalake

ROWS = 100_000
LABEL = (
    "STRUCT(classification VARCHAR, labelled_by VARCHAR, labelled_date DATE, labelling_method VARCHAR, "
    "classification_type VARCHAR, value BOOLEAN)"
)
EXAM = (
    "STRUCT(id BIGINT, source VARCHAR[], dataset_type VARCHAR, dataset VARCHAR, body_part VARCHAR, image_path VARCHAR, "
    f"labels {LABEL}[])"
)
REPORT = "STRUCT(exam_id BIGINT, report_date DATE, reported_by VARCHAR, text VARCHAR)"


def main():
    data, lake = sys.argv[1:3]
    db = duckdb.connect()

    def write(table, sql):
        write_deltalake(f"{lake}/{table}", db.sql(sql).to_arrow_reader(ROWS), mode="overwrite")

    def files(table):
        return f"read_parquet({DeltaTable(f'{lake}/{table}').file_uris()!r})"

    def events(folder, columns):
        columns = ", ".join(f"{name}: '{kind}'" for name, kind in columns.items())
        return (
            f"SELECT *, filename AS source_file FROM read_json('{data}/{folder}/*.json', format = 'array', "
            f"filename = true, maximum_object_size = 268435456, columns = {{{columns}}})"
        )

    write("bronze/exam_events", events("exam", {"content": EXAM, "publication_timestamp": "DOUBLE"}))
    write("bronze/report_events", events("medical_report", {"content": REPORT}))

    db.execute(
        "CREATE TEMP TABLE event AS SELECT content.*, publication_timestamp AS published_at, source_file "
        f"FROM {files('bronze/exam_events')}"
    )
    write("silver/quarantine", "SELECT * FROM event WHERE id IS NULL")
    db.execute(
        "CREATE TEMP TABLE latest AS SELECT * FROM event WHERE id IS NOT NULL "
        "QUALIFY ROW_NUMBER() OVER (PARTITION BY id ORDER BY published_at DESC) = 1"
    )
    write("silver/exams", "SELECT * EXCLUDE (labels), LEN(labels) AS label_count FROM latest")
    write("silver/exam_labels", "SELECT exam_id, label.* FROM (SELECT id AS exam_id, UNNEST(labels) AS label FROM latest)")
    write("silver/reports", f"SELECT content.*, source_file FROM {files('bronze/report_events')}")

    write(
        "gold/exam_label_consensus",
        f"""
        SELECT exam_id, classification, total > 0 AS value, ABS(total) AS score
        FROM (
          SELECT exam_id, classification,
            SUM((CASE labelling_method WHEN 'physician' THEN 10 ELSE 5 END) * (CASE WHEN value THEN 1 ELSE -1 END)) AS total
          FROM {files('silver/exam_labels')}
          GROUP BY exam_id, classification
        )
        WHERE total <> 0
        """,
    )
    found = {
        "exam_records": "SELECT COUNT(*) FROM event",
        "exams": f"SELECT COUNT(*) FROM {files('silver/exams')}",
        "labels": f"SELECT COUNT(*) FROM {files('silver/exam_labels')}",
        "quarantined": f"SELECT COUNT(*) FROM {files('silver/quarantine')}",
        "reports": f"SELECT COUNT(*) FROM {files('silver/reports')}",
        "consensus": f"SELECT COUNT(*) FROM {files('gold/exam_label_consensus')}",
        "score": f"SELECT CAST(SUM(score) AS BIGINT) FROM {files('gold/exam_label_consensus')}",
    }
    print(json.dumps({name: db.execute(sql).fetchone()[0] for name, sql in found.items()}))


if __name__ == "__main__":
    main()
