"""Train one variant on one fold and predict its validation and test scans.

Learns from the fold's training patients, stops by its validation patients, and looks at its test patients once, when
the best epoch is fixed. Writes the weights, an archive of predictions and history, and last the record.

With --store, a finished training is taken from there instead of being repeated, and an unfinished one goes on from its
checkpoint: run the same command again after any interruption.
"""

from __future__ import annotations

from typing import Literal

from claire.core.command.parameters import InputFile, SitePath, StepParameters, parameter


class Parameters(StepParameters):
    """Parameters of `claire train`."""

    variant: InputFile = parameter(help="<id>.variant.json of `claire plan`")
    cohort: InputFile = parameter(help="cohort.h5 of `claire cohort`")
    folds: InputFile = parameter(help="folds.csv of `claire cohort`")
    fold: int = parameter(help="fold whose patients are the test, counted from 0", ge=0)
    pretrained: InputFile | None = parameter(None, help="weights file that the variant's pretraining names")
    store: SitePath | None = parameter(
        None, help="absolute path of a directory that keeps finished trainings and checkpoints"
    )
    device: Literal["auto", "cpu", "cuda"] = parameter("auto", help="where to train; auto: a GPU if there is one")


def run(parameters: Parameters) -> None:
    """Train, or take a finished training from the store."""
    from claire.core.command.progress import about, log
    from claire.core.command.store import open_entry
    from claire.core.networks.devices import choose_device, make_deterministic
    from claire.train.job import read_job, store_key
    from claire.train.work import train

    job = read_job(parameters)
    about("train", job.name)
    make_deterministic(parameters.threads)
    device = choose_device(parameters.device, job.variant.dimensions)
    inputs = {"variant": parameters.variant, "cohort": job.cohort.sha256, "folds": parameters.folds}
    if job.pretrained:
        inputs["pretrained"] = job.pretrained
    if parameters.store is None:
        train(job, device, parameters.out, inputs, None)
        return
    entry = open_entry(parameters.store, "train", store_key(job, parameters.folds, device))
    if entry.drop_if_damaged():
        log.warning("the store's result is damaged: set aside there as .damaged, training again")
    if entry.finished:
        log.info("finished before: taken from the store")
    else:
        with entry.publishing() as staging:
            train(job, device, staging, inputs, entry.partial / "checkpoint.pt")
    entry.fetch(parameters.out, last=".run.json")
