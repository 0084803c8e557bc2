"""What SLURM says of partitions and nodes, against what a service asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from claire.core.command.findings import Findings

#: Nodes of a partition by `sinfo -o`: partition, whether it is up, time limit, cores, MiB of memory, slots, state.
FORMAT = "%R|%a|%l|%c|%m|%G|%t"
_UNITS = {"K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}
#: Keys of a service that are no options of sbatch.
_NO_OPTIONS = ("file",)


@dataclass(frozen=True)
class Nodes:
    """Nodes of a partition that are alike. `seconds`: time limit, None for none; `slots`: as `gpu:v100:2`."""

    partition: str
    up: bool
    seconds: int | None
    cores: int
    memory_mib: int
    slots: str
    state: str


def read_nodes(text: str) -> list[Nodes]:
    """Read what `sinfo -h -o FORMAT` printed."""
    rows = [line.split("|") for line in text.splitlines() if line.count("|") == FORMAT.count("|")]
    return [
        Nodes(name, up == "up", seconds_of(limit), _number(cores), _number(memory), slots, state)
        for name, up, limit, cores, memory, slots, state in rows
    ]


def _number(text: str) -> int:
    return int(re.sub(r"\D", "", text) or 0)


def seconds_of(limit: str) -> int | None:
    """Return a time limit of SLURM (`30`, `24:00:00`, `2-12`, `infinite`) in seconds; None if there is none."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", limit.strip())
    if match is None:
        return None
    days, *parts = (int(part) if part else None for part in match.groups())
    first, second, third = parts
    if days is not None:  # days-hours:minutes:seconds
        return ((days * 24 + (first or 0)) * 60 + (second or 0)) * 60 + (third or 0)
    if third is not None:
        return ((first or 0) * 60 + (second or 0)) * 60 + third
    return (first or 0) * 60 + (second or 0)  # minutes, or minutes:seconds


def mebibytes(memory: str) -> float:
    """Return a size of SLURM (`32000`, `32G`) in MiB."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", memory.strip(), re.IGNORECASE)
    return float(match[1]) * _UNITS[(match[2] or "M").upper()] if match else 0.0


def options(service: Mapping[str, Any]) -> list[str]:
    """Return a service as options of sbatch, as StreamFlow gives them."""
    given = {re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower(): value for name, value in service.items()}
    return [
        f"--{name}" if value is True else f"--{name}={value}"
        for name, value in given.items()
        if value is not False and name not in _NO_OPTIONS
    ]


def check_service(name: str, service: Mapping[str, Any], nodes: Sequence[Nodes], findings: Findings) -> bool:
    """Add faults of what a service asks for and no node of its partition offers; return whether there was none."""
    faults = len(findings.faults)
    partition = service.get("partition")
    offered = [each for each in nodes if partition is None or each.partition == partition]
    if not offered:
        names = ", ".join(sorted({each.partition for each in nodes})) or "none that you may use"
        findings.fault(
            f"service {name}: there is no partition {partition}: expected one of {names}",
            "Correct `partition`; `sinfo -s` at the login node lists them.",
        )
    elif not any(each.up for each in offered):
        findings.fault(f"service {name}: partition {partition} is down: no job starts there", "Wait, or name another.")
    else:
        _check_demands(name, service, offered, findings)
    return len(findings.faults) == faults


def _check_demands(name: str, service: Mapping[str, Any], offered: Sequence[Nodes], findings: Findings) -> None:
    place = f"partition {offered[0].partition}"
    slots = service.get("gres")
    if slots and not any(offers(each.slots, slots) for each in offered):
        have = ", ".join(sorted({each.slots for each in offered}))
        findings.fault(
            f"service {name}: no node of {place} has gres {slots}: expected one of {have}",
            "Correct `gres`; `sinfo -o '%P %G'` at the login node lists them.",
        )
    limits = [each.seconds for each in offered]
    asked = seconds_of(str(service.get("time", "")))
    if asked is not None and None not in limits and asked > max(limit for limit in limits if limit is not None):
        longest = max(limit for limit in limits if limit is not None)
        findings.fault(
            f"service {name}: time {service['time']} is more than {place} allows: expected at most {longest // 3600} h "
            f"{longest % 3600 // 60} min",
            "Lower `time`: trainings go on from their checkpoint in the store.",
        )
    cores, memory = service.get("cpusPerTask", 1), mebibytes(str(service.get("mem", "0")))
    if cores > max(each.cores for each in offered):
        most = max(each.cores for each in offered)
        findings.fault(
            f"service {name}: no node of {place} has {cores} cores: expected at most {most}",
            "Lower `cpusPerTask`, and `cores` of the job.",
        )
    if memory > max(each.memory_mib for each in offered):
        most = max(each.memory_mib for each in offered)
        findings.fault(
            f"service {name}: no node of {place} has {memory:.0f} MiB of memory: expected at most {most}",
            "Lower `mem`.",
        )
    if all(re.match(r"(down|drain|drng|fail|maint|unk)", each.state) for each in offered):
        findings.warn(f"service {name}: every node of {place} is down or drained now", "Jobs wait until one is back.")


def offers(slots: str, asked: str) -> bool:
    """Return whether the slots of a node (`gpu:v100:2(S:0),…`) hold those asked for (`gpu:v100:1`, `gpu:1`)."""
    for each in asked.split(","):
        name, *rest = each.removeprefix("gres/").split(":")
        kind, count = (rest[0], rest[1]) if len(rest) == 2 else ("", rest[0] if rest else "1")
        if not count.isdigit():
            kind, count = count, "1"
        held = [re.sub(r"\(.*?\)", "", slot).split(":") for slot in re.split(r",(?![^(]*\))", slots)]
        held_count = sum(
            _number(slot[-1]) if len(slot) > 1 else 0
            for slot in held
            if slot[0] == name and (not kind or kind in slot[1:-1])
        )
        if held_count < int(count):
            return False
    return True
