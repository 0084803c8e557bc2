"""The login node: whether it is reached, and if not, why and what to do."""

from __future__ import annotations

import stat
from pathlib import Path

from claire.commands.site.file import Login
from claire.commands.site.reach import CONNECT, Unreachable, meaning
from claire.core.command.findings import Findings

#: What OpenSSH prints, what it means, and what to do; {host}, {port}, {user}, {key} and {name} are filled in.
_CAUSES = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|host key for .* has changed",
        "login node {host}: its host key is another one than ~/.ssh/known_hosts has",
        "Ask its administrators whether it changed. If so: ssh-keygen -R '{name}', then as for an unknown key.",
    ),
    (
        r"No .* host key is known|Host key verification failed",
        "login node {host}: its host key is unknown",
        "ssh-keyscan -p {port} {host} >>~/.ssh/known_hosts, and compare the fingerprint with the one that its "
        "administrators publish.",
    ),
    (
        r"bad permissions|are too open",
        "login node {host}: the key {key} may be read by others, so OpenSSH does not use it",
        "chmod 600 {key}",
    ),
    (
        r"error in libcrypto|invalid format|incorrect passphrase",
        "login node {host}: {key} is no private key, or one with a passphrase that no agent holds",
        "Name the private key in `sshKey`, not the .pub file; hand a key with a passphrase to an agent: ssh-add {key}",
    ),
    (
        r"Permission denied|Too many authentication failures",
        "login node {host}: the key {key} is refused for user {user}",
        "Correct `username` and `sshKey`, or add the public key to ~/.ssh/authorized_keys there. Where a second factor "
        "is asked for, log in by hand first and leave `sshKey` out: the agent's key is used.",
    ),
    (
        r"Could not resolve hostname",
        "login node {host}: there is no host of this name",
        "Correct `nodes` of the ssh deployment.",
    ),
    (
        r"Connection refused",
        "login node {host}: nothing answers at port {port}",
        "Correct host and port (`nodes: [\"host:port\"]`), or wait until its SSH server runs again.",
    ),
    (
        r"No route to host|Network is unreachable",
        "login node {host}: there is no route to it",
        "Check the network of this machine, or name the host on the way as `tunnel`.",
    ),
    (
        r"timed out|no answer within",
        "login node {host}: no answer within " + f"{CONNECT} s",
        "It is down, or a firewall or a VPN is between: try `ssh {user}@{host}` by hand.",
    ),
    (
        r"Connection (closed|reset)|kex_exchange_identification",
        "login node {host}: it ended the connection before the login",
        "It may limit connections or ban this address: wait some minutes, or ask its administrators.",
    ),
)  # fmt: skip


def check_key(login: Login, findings: Findings) -> bool:
    """Add faults of the private key of a login node; return whether a connection can be tried."""
    path = Path(login.key)
    if not login.key:
        return True
    if not path.is_file():
        findings.fault(
            f"login node {login.host}: there is no key {login.key}", "Correct `sshKey`, or leave it out for an agent's."
        )
        return False
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        findings.fault(
            f"login node {login.host}: the key {login.key} may be read by others (mode {mode:04o}), so OpenSSH does "
            "not use it",
            f"chmod 600 {login.key}",
        )
    return not mode & 0o077


def add_unreached(login: Login | None, error: Unreachable, findings: Findings) -> None:
    """Add the fault of a login node that was not reached, in words by what OpenSSH said."""
    if login is None:
        findings.fault(error.problem, "Run this on the login node.")
        return
    name = login.host if login.port == 22 else f"[{login.host}]:{login.port}"
    fields = {"host": login.host, "port": login.port, "user": login.user or "you", "name": name}
    fields["key"] = login.key or "of the agent"
    by_hand = f"Try `ssh -p {login.port} {fields['user']}@{login.host}` by hand."
    findings.fault(*meaning(_CAUSES, error.words, fields) or (error.problem, by_hand))
