#!/usr/bin/env python3
"""Measures the program, in turns with its peers at the same work, and prints a table of targets.

usage: compare.py [--exams N] [--rounds R] [--peers duckdb,polars|none] [--only full,increment,…] [--quick]

Makes its data and lakes in --work, builds the program as it is shipped, and puts the peers into an environment outside of
the checkout. What was found is compared with the truth that the data were made with: a wrong result ends the measuring with
exit code 1, a target that is missed does not.
"""
import argparse
import datetime
import os
import pathlib
import sys
import tempfile

import contenders
import measure
import rows

# Of a smoke run: everything is done, and nothing says how fast the program is.
QUICK = rows.Sizes(exams=500, rounds=1, short_rounds=1, increment=100, small_files=50)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exams", type=int, default=500_000, help="exams and reports [500000]")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured; the median counts [3]")
    parser.add_argument("--peers", default="duckdb,polars", help="who else does the work, or none [duckdb,polars]")
    parser.add_argument("--only", help=f"these of {','.join(rows.MEASUREMENTS)} [all]")
    parser.add_argument("--quick", action="store_true", help="on few exams, to see that it works")
    parser.add_argument("--cores", type=int, default=2, help="how many cores are used [2]")
    parser.add_argument("--binary", type=pathlib.Path, help="the program [built here with --release]")
    work = pathlib.Path(tempfile.gettempdir()) / "medalha-benches"
    parser.add_argument("--work", type=pathlib.Path, default=work, help=f"where data and lakes lie [{work}]")
    args = parser.parse_args()
    args.peers = [] if args.peers == "none" else args.peers.split(",")
    args.only = args.only.split(",") if args.only else list(rows.MEASUREMENTS)
    for wanted, known in ((args.peers, contenders.PEERS), (args.only, rows.MEASUREMENTS)):
        unknown = [name for name in wanted if name not in known]
        if unknown:
            parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    return args


def print_table(table, judged):
    """Rows as a Markdown table."""
    print("| what | target | measured | holds | |\n|---|---|---|---|---|")
    for row in table:
        holds = {None: "", True: "yes", False: "**no**"}[row.holds if judged else None]
        figure = f"{row.figure:,.0f}" if row.figure >= 100 else f"{row.figure:.2f}"
        print(f"| {row.what} | {row.target} | {figure}{row.unit} | {holds} | {row.note} |", flush=True)


def main():
    args = arguments()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    sizes = QUICK if args.quick else rows.Sizes(args.exams, args.rounds)
    args.work.mkdir(parents=True, exist_ok=True)
    print(f"{datetime.date.today()}; {measure.machine(args.work)}")
    pipeline = contenders.Pipeline(args.binary.resolve() if args.binary else contenders.built())
    peers = [contenders.Peer(name) for name in args.peers]
    bench = rows.Bench(pipeline, peers, args.work, sizes)
    print(f"{bench.exams:,} exams and reports, {bench.rounds} rounds, medians\n")
    table = [row for name in args.only for row in rows.MEASUREMENTS[name](bench)]
    # At other sizes than the targets' own the figures are told and not judged.
    print_table(table, judged=not args.quick)


if __name__ == "__main__":
    try:
        main()
    except measure.Failed as error:
        sys.exit(f"error: {error}")
