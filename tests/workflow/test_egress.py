"""The proof of what crossed: StreamFlow's database and an HPC's files against the policy."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
#: The tables of StreamFlow 0.2.0rc3 that are read, with the columns that are.
TABLES = """
CREATE TABLE step (id INTEGER PRIMARY KEY, name TEXT, type TEXT, params TEXT);
CREATE TABLE dependency (step INTEGER, port INTEGER, type INTEGER, name TEXT);
CREATE TABLE token (id INTEGER PRIMARY KEY, port INTEGER, type TEXT, value TEXT);
CREATE TABLE deployment (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE target (id INTEGER PRIMARY KEY, deployment INTEGER);
"""
DATA, HPC = 1, 2


class Database:
    """A database as StreamFlow writes it."""

    def __init__(self, path: Path) -> None:
        self.path, self.connection, self.ports = path, sqlite3.connect(path), 100
        self.connection.executescript(TABLES)
        self.connection.executemany("INSERT INTO deployment VALUES (?, ?)", [(DATA, "data-site"), (HPC, "hpc")])
        self.connection.executemany("INSERT INTO target VALUES (?, ?)", [(DATA, DATA), (HPC, HPC)])

    def token(self, port: int | None, kind: str, value: Any) -> int:
        row = (port, f"streamflow.{kind}", json.dumps(value))
        return self.connection.execute("INSERT INTO token (port, type, value) VALUES (?, ?, ?)", row).lastrowid or 0

    def step(self, name: str, target: int, taken: dict[str, list[str]], made: list[str]) -> None:
        """Add a step that ran at a target; several files are a list, as StreamFlow keeps them."""
        job, self.ports = self.ports, self.ports + 100
        binding = {"job_port": job, "binding_config": {"targets": [target]}}
        add = "INSERT INTO step (name, type, params) VALUES (?, ?, ?)"
        self.connection.execute(add, (f"{name}/__schedule__", "x.CWLScheduleStep", json.dumps(binding)))
        step = self.connection.execute(add, (name, "x.CWLExecuteStep", json.dumps({"job_port": job}))).lastrowid
        for number, (title, files) in enumerate({**taken, "": made}.items(), job + 1):
            kind = int(title == "")
            self.connection.execute("INSERT INTO dependency VALUES (?, ?, ?, ?)", (step, number, kind, title))
            tokens = [{"class": "File", "basename": file} for file in files]
            if len(tokens) == 1:
                self.token(number, "CWLFileToken", tokens[0])
            else:
                inner = [self.token(None, "CWLFileToken", each) for each in tokens]
                self.token(number, "ListToken", inner)
        self.connection.commit()


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """A run of the hybrid that keeps the policy."""
    made = Database(tmp_path / "claire.db")
    made.step("/plan", DATA, {"grid": ["my.yml"]}, ["variants.zip"])
    made.step("/data/index", DATA, {}, ["0000.shard.jsonl", "0001.shard.jsonl"])
    made.step("/data/cohort", DATA, {}, ["cohort.h5", "folds.csv", "scans.csv"])
    taken = {"cohort": ["cohort.h5"], "folds": ["folds.csv"], "variants": ["variants.zip"]}
    made.step("/experiment/collect", HPC, taken, ["v1.variant.json"])
    taken = {"cohort": ["cohort.h5"], "folds": ["folds.csv"], "variant": ["v1.variant.json"]}
    made.step("/experiment/train", HPC, taken, ["v1-f0.run.zip", "v1-f0.safetensors"])
    made.step("/experiment/evaluate", DATA, {"runs": ["v1-f0.run.zip"], "scans": ["scans.csv"]}, ["winner.json"])
    return made


def prove(database: Database, *options: str) -> subprocess.CompletedProcess[str]:
    script = ROOT / "tests/workflow/cluster/egress.py"
    command = [sys.executable, script, "--site", ROOT / "streamflow.yml", "--database", database.path, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_run_that_keeps_the_policy_is_proved(database: Database) -> None:
    done = prove(database)
    assert done.returncode == 0, done.stderr
    assert "data -> hpc: 3 files: cohort.h5, folds.csv, variants.zip" in done.stdout
    assert "hpc -> data: 1 files: v1-f0.run.zip" in done.stdout
    assert "driver -> data: 1 files: grid" in done.stdout


def test_a_file_that_crossed_and_may_not_is_named(database: Database) -> None:
    database.step("/explain", HPC, {"scans": ["scans.csv"], "shards": ["0000.shard.jsonl", "0001.shard.jsonl"]}, ["a"])
    done = prove(database)
    assert done.returncode == 1
    for file, maker in (("scans.csv", "/data/cohort"), ("0001.shard.jsonl", "/data/index")):
        assert f"{file} of {maker} went to /explain (hpc): deployments/policy.yml does not allow it" in done.stderr


def test_what_lies_at_the_hpc_is_compared(database: Database, tmp_path: Path) -> None:
    listing, job = tmp_path / "listing", tmp_path / "job.yml"
    job.write_text("labels: /data/who.csv\nkey: /data/secret\n")
    good = ["p/work/a/cohort.h5", "p/store/train/x/v1-f0.run.zip", "p/work/b/plan.json", "p/work/notes.txt"]
    listing.write_text("\n".join(good))
    assert prove(database, "--listing", str(listing), "--job", str(job)).returncode == 0
    bad = ["p/a/0000.shard.jsonl", "p/scans.csv", "p/x/1.dcm", "p/who.csv", "p/secret", "p/0000.prepared.h5"]
    listing.write_text("\n".join([*good, *bad]))
    done = prove(database, "--listing", str(listing), "--job", str(job))
    assert done.returncode == 1
    assert [line.split()[1] for line in done.stderr.splitlines()] == bad


def test_a_run_in_which_nothing_crossed_proves_nothing(tmp_path: Path) -> None:
    made = Database(tmp_path / "claire.db")
    made.step("/plan", DATA, {"grid": ["my.yml"]}, ["plan.json"])
    assert "no run in this database reached the step index" in prove(made).stderr
    made.step("/data/index", DATA, {}, ["0000.shard.jsonl"])
    done = prove(made)
    assert done.returncode == 1
    assert "nothing crossed from the data site to an HPC" in done.stderr
