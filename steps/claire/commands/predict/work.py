"""New scans from their folder to their pages: the job that a model asks for, run."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import yaml

from claire.commands.predict import Parameters
from claire.commands.run.state import SCRATCH
from claire.commands.run.watch import Watch
from claire.commands.run.work import Results, alone, execute, launch_of, site_of
from claire.core.command.errors import UsageError
from claire.core.command.files import only_for_owner, require_plain, write_text
from claire.core.contracts.model import ModelDocument, read_model
from claire.core.privacy.pseudonym import read_key

STEPS = ("index", "ingest", "segment", "preprocess", "apply", "explain", "deliver")
PAGE = "pages/index.html"
README = """Diagnosis of new scans by a model of the CLAIRE pipeline. For research use only: this is no medical device.

pages         a page a patient that works offline: begin with pages/index.html
tables        predictions.csv: a row a scan: decision, probabilities, whether the model has a say
predictions.json  the same with what each network says
lesions       the ranked lesions of each scan
dicom         lesions (SEG), pictures (SC) and report (SR) of each scan
private       from pseudonyms to series: it identifies patients and stays at the site
key           secret key of the pseudonyms, where none was given
provenance    what each step did: version, parameters, hashes, time and memory
log.txt       every line of the engine and the steps

docs/outputs.md of the pipeline describes every file, column and unit.
"""


def run(parameters: Parameters) -> None:
    """Run the workflow of new patients. Raises UsageError or ClaireError with the first cause if it cannot."""
    model = read_model(parameters.model).document
    out, source = parameters.out.resolve(), parameters.scans.resolve()
    _require_apart(out, source)
    for name, path in (("SCANS", source), ("--out", out), ("MODEL", parameters.model.resolve())):
        require_plain(name, path)
    if parameters.key:
        read_key(parameters.key)
    with alone(out):
        print(f"model {model.variant_id}: {', '.join(model.classes)}; {len(model.folds)} networks", flush=True)
        job = make_job(parameters, model, out)
        path = write_text(out / SCRATCH / "job.yml", yaml.safe_dump(job, sort_keys=False))
        at_site = site_of(parameters.site, out, keep=False, job=None)
        launch = launch_of(parameters.engine, "cwl/predict.cwl", path, at_site)
        shards = job["index_options"]["shards"]
        once = dict.fromkeys(("index", "apply", "deliver"), 1) | {"explain": int(job["seek_lesions"])}
        jobs = once | dict.fromkeys(("ingest", "segment", "preprocess"), shards)
        execute(launch, out, lambda: Watch(jobs, STEPS), Results(PAGE, README), 3)


def _require_apart(out: Path, source: Path) -> None:
    if out == source or out.is_relative_to(source):
        raise UsageError(f"--out {out} is inside of the scans", "Name a folder outside: nothing may be written there.")


def make_job(parameters: Parameters, model: ModelDocument, out: Path) -> dict[str, Any]:
    """Return the job of cwl/predict.cwl: the scans are prepared as those of the model's cohort."""
    cores = len(os.sched_getaffinity(0))
    store = str(parameters.store or out / SCRATCH / "store")
    prepared = model.preparation.job()
    prepared["index_options"]["shards"] = cores
    return {
        "model": _path("File", parameters.model),
        "source": _path("Directory", parameters.scans),
        "key": _path("File", parameters.key or make_key(out)),
        "private": str(out / "private"),
        "store": store,
        "data_store": store,
        "seek_lesions": not parameters.no_lesions,
        "images": parameters.images,
        "cores": cores,
        "deliver_options": {"keep_identity": parameters.keep_identity},
        **prepared,
    }


def make_key(out: Path) -> Path:
    """Return the key of a folder of results; a new one if there is none yet."""
    path = out / "key"
    if not path.exists():
        with only_for_owner():
            write_text(path, secrets.token_hex(32) + "\n")
    read_key(path)
    return path


def _path(kind: str, path: Path) -> dict[str, str]:
    return {"class": kind, "path": str(path.resolve())}
