"""Write a copy of streamflow.yml with only its site block changed, or the local job that it is compared with."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import yaml
from claire.commands.site.file import fit_bindings
from claire.core.contracts.model import read_model

ROOT = Path(__file__).parents[3]


def job(work: Path, data: str | None) -> dict[str, object]:
    """Return the smoke job on the cohort in `work`/tmp/data, or on its paths at the site (`data`)."""
    values = yaml.safe_load((ROOT / "configs/smoke.yml").read_text())
    grid = work / "grid.yml"
    # Trainings of some seconds, so that faults meet them.
    grid.write_text((ROOT / "configs" / values["grid"]["path"]).read_text().replace("epochs: 1\n", "epochs: 8\n"))
    values["grid"]["path"] = str(grid)
    for name, where in {"source": "source", "labels": "labels.csv", "key": "key"}.items():
        values[name] = f"{data}/{where}" if data else {**values[name], "path": str(work / "tmp/data" / where)}
    return values


def site(work: Path, sif: str) -> dict[str, object]:
    """Return the values of streamflow.yml at the cluster that the environment names."""
    values = yaml.safe_load((ROOT / "streamflow.yml").read_text())
    home = f"/home/{os.environ['CLUSTER_SSH_USER']}"
    login, hpc = values["deployments"]["login"], values["deployments"]["hpc"]
    login["config"] |= {
        "nodes": [os.environ["CLUSTER_SSH_HOST"]],
        "username": os.environ["CLUSTER_SSH_USER"],
        "sshKey": os.environ["CLUSTER_SSH_KEY"],
    }
    login["workdir"] = hpc["workdir"] = f"{home}/claire-cluster-test/work"
    hpc["config"]["pollingInterval"] = 1
    for service in hpc["config"]["services"].values():
        service |= {
            "cpusPerTask": 1,
            "mem": "6000",
            "time": "00:30:00",
            "export": f"CLAIRE_IMAGE={sif},CLAIRE_BIND={home}/claire-cluster-test",
        }
    values["database"]["config"]["connection"] = str(work / "streamflow.db")
    settings = work / "job.yml"
    places = {
        "store": f"{home}/claire-cluster-test/store",
        "data_store": "/private/store",
        "private": "/private/table",
    }
    settings.write_text(yaml.safe_dump({**job(work, "/data"), **places}))
    values["workflows"]["claire"]["config"]["settings"] = str(settings)
    return values


def new_patients(work: Path, sif: str, model: Path) -> dict[str, object]:
    """Return the same site with cwl/predict.cwl, on the cohort's series without their labels."""
    values = site(work, sif)
    (described,) = values["workflows"].values()
    settings = work / "predict.yml"
    paths = {"model": {"class": "File", "path": str(model)}, "source": "/data/source", "key": "/data/key"}
    asked = read_model(model).document.preparation.job() | {"seek_lesions": False}
    asked["index_options"]["shards"] = 2
    store = f"/home/{os.environ['CLUSTER_SSH_USER']}/claire-cluster-test/store"
    settings.write_text(yaml.safe_dump({**paths, **asked, "store": store}))
    workflow = ROOT / "cwl/predict.cwl"
    described["config"] |= {"file": str(workflow), "settings": str(settings)}
    described["bindings"] = fit_bindings(described["bindings"], yaml.safe_load(workflow.read_text())["steps"])
    return values


def main() -> None:
    """Print the file asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of the test")
    parser.add_argument("--sif", help="learn image at the HPC")
    parser.add_argument("--local", action="store_true", help="print the local job instead")
    parser.add_argument("--predict", type=Path, metavar="MODEL", help="print the file for new patients instead")
    args = parser.parse_args()
    if args.predict:
        values = new_patients(args.work, args.sif, args.predict)
    else:
        values = job(args.work, None) if args.local else site(args.work, args.sif)
    yaml.safe_dump(values, sys.stdout)


if __name__ == "__main__":
    main()
