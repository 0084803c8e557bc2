"""Compare all runs: leaderboard, intervals, comparisons, winner.

Reads the predictions of every run (validation and test patients of every variant and fold) and writes
leaderboard.csv, metrics.json, comparisons.csv, curves.csv and winner.json. Patients are the unit of every figure and of
every interval; scores of different folds are never pooled. The headline is nested: in each fold the variant that is
best on validation predicts the test patients.

With --external it measures a finished model on new labelled patients instead, without training anything: from the
predictions of `claire apply`, --labels and --model it writes external.json and external.csv, and says whether the
model does worse there than inside its own cohort.
"""

from __future__ import annotations

from claire.core.command.parameters import InputDirectory, InputFile, Integers, Manifest, StoredParameters, parameter


class Parameters(StoredParameters):
    """Parameters of `claire evaluate`."""

    runs: Manifest = parameter(
        (),
        unless="external",
        help="manifest of the `<variant>-f<fold>.run.zip` files of all trainings, in order",
        details="Positions in `winner.json` count its lines from 0.",
    )
    scans: InputFile | None = parameter(
        None,
        unless="external",
        help="scans.csv of the cohort",
        details="Gives the patients, their labels and the subgroups.",
    )
    cohort_summary: InputFile | None = parameter(
        None, unless="external", help="cohort.json of the cohort", details="Runs of another cohort are refused."
    )
    explain_folds: Integers | None = parameter(
        None,
        help="folds whose test scans are explained; all by default; none: `none`",
        details="Explaining is the longest step after training: name one fold, such as `0`, for a first look.",
    )
    seed: int = parameter(
        0, help="seed of the bootstrap", details="Change it to see how much the limits depend on the samples.", ge=0
    )
    bootstrap: int = parameter(
        2000,
        help="bootstrap samples of the patients",
        details="More samples give steadier limits: 10000 for a publication.",
        ge=100,
    )
    reference: str | None = parameter(
        None,
        help="id of the variant that all others are compared with; without it that of the first run",
        details="Name it before you see results: `claire plan --list` shows the ids.",
    )
    prevalence: float | None = parameter(
        None,
        help="share of positives for PPV, NPV and net benefit; else the cohort's",
        details="Cohorts are enriched: state the prevalence where the network would be used.",
        gt=0,
        lt=1,
    )
    external: InputFile | None = parameter(
        None,
        for_people=True,
        help="predictions.json of new patients: measure the model on them",
        details="Instead of `--runs`, `--scans` and `--cohort-summary`; needs `--labels` and `--model`. Without "
        "`--prevalence`, PPV and NPV are at the prevalence of the model's figures.",
    )
    labels: InputFile | None = parameter(
        None,
        for_people=True,
        help="labels of the new patients, with --external",
        details="A key column and `label`: `patient_id`, `study_uid`, `series_uid` or `path`, which need `--private`, "
        "or pseudonyms in `patient` or `scan`. Scans without a label are counted, never taken as negative.",
    )
    model: InputFile | None = parameter(
        None,
        for_people=True,
        help="model file that made the predictions, with --external",
        details="Its figures inside its own cohort are what the new ones are compared with.",
    )
    private: InputDirectory | None = parameter(
        None,
        for_people=True,
        help="directory of the private tables of ingest, with --external",
        details="Tells which pseudonym a key in `--labels` stands for. Nothing of it is written.",
    )


def run(parameters: Parameters) -> None:
    """Compare the runs of the manifest, or measure a model on new patients, and write all tables."""
    from claire.evaluate import work
    from claire.evaluate.external import work as external

    (external if parameters.external else work).run(parameters)
