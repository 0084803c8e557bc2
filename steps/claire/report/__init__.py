"""Write everything into one self-contained HTML page.

The page holds the cohort, the leaderboard, curves with intervals, guards, a page a scan with its ranked lesions,
rejects and provenance. It asks no network for anything and opens anywhere. Beside it stands the provenance of the run
for machines (`ro-crate-metadata.json`), written from the records.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import claire
from claire.core.command import cli
from claire.core.command.record import Record, sha256_file, source_hash, write_json, write_text

STEP = "report"
TABLES = ("leaderboard", "metrics", "comparisons", "curves", "cohort", "scans", "folds", "rejects")
MANIFESTS = ("lesions", "overlays", "records")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `claire report`."""
    made = cli.parser(STEP, __doc__)
    flags = made.add_argument
    flags("--leaderboard", type=cli.existing_file, required=True, help="leaderboard.csv of evaluate")
    flags("--metrics", type=cli.existing_file, required=True, help="metrics.json of evaluate")
    flags("--comparisons", type=cli.existing_file, required=True, help="comparisons.csv of evaluate")
    flags("--curves", type=cli.existing_file, required=True, help="curves.csv of evaluate")
    flags("--cohort", type=cli.existing_file, required=True, help="cohort.json of cohort")
    flags("--scans", type=cli.existing_file, required=True, help="scans.csv of cohort")
    flags("--folds", type=cli.existing_file, required=True, help="folds.csv of cohort")
    flags("--rejects", type=cli.existing_file, required=True, help="rejects.csv of cohort")
    flags("--lesions", type=cli.manifest, default=[], help="manifest of the lesions.json files of explain")
    flags("--overlays", type=cli.manifest, default=[], help="manifest of the overlays.zip files of explain")
    flags("--records", type=cli.manifest, default=[], help="manifest of the *.run.json records of all steps")
    flags(
        "--images",
        choices=["none", "phantom", "all"],
        default="phantom",
        help="whose pictures stand in the page; pseudonymised CT stays personal health data",
    )
    flags("--picture-limit", type=int, default=200, help="most pictures in the page, errors first; 0 for none")
    flags("--title", default="Chest CT report", help="title of the page")
    return made


def run(args: argparse.Namespace) -> None:
    """Read everything, write the page, the crate and the record."""
    from claire.report.crate import crate
    from claire.report.inputs import read_inputs
    from claire.report.page import render

    cli.require(args.picture_limit >= 0, "--picture-limit is negative", "Give 0 for none.")
    tables = {name: getattr(args, name) for name in TABLES}
    inputs = read_inputs(args.title, args.images, tables, args.lesions, args.overlays, args.records)
    parameters = {"images": args.images, "picture_limit": args.picture_limit, "title": args.title}
    hashes = {name: inputs.hashes[path.name] for name, path in tables.items()}
    hashes |= {path.name: inputs.hashes[path.name] for name in MANIFESTS for path in getattr(args, name)}
    hashes_of_cohort = {inputs.metrics.get("cohort"), inputs.cohort.get("sha256")} - {None}
    cli.require(
        len(hashes_of_cohort) < 2,
        f"{args.metrics.name} and {args.cohort.name} are of different cohorts",
        "Give the files of one run.",
    )
    with Record(STEP, "", args.out, parameters, hashes) as record:
        page = record.output(write_text(args.out / "report.html", render(inputs, args.picture_limit)))
        made = {page.name: sha256_file(page)}
        own = {"step": STEP, "stem": "", "version": claire.__version__, "source": source_hash(), "outputs": made}
        own |= {"parameters": parameters, "inputs": hashes}
        document = crate([*inputs.records, own], {**inputs.hashes, **made}, args.title)
        record.output(write_json(args.out / "ro-crate-metadata.json", document))
        record.counts.update(scans=len(inputs.scans), explained=len(inputs.explained), records=len(inputs.records))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step on command line arguments; return its exit code."""
    return cli.execute(build_parser(), run, argv)
