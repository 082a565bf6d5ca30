"""The process that owns a Postgres of the tests: it makes the cluster, and outlives its users by a moment to remove it.

Every user holds a shared lock on `users` in the cluster's folder. The kernel lets go of it however a user ends, by SIGKILL as
well; the keeper waits for the lock alone, stops the server at once and removes the folder. The lock is of the kind that belongs
to a process, not to a descriptor: programs started by a test do not keep the server alive.

Standard library only, and run by its path: `python postgres_keeper.py '{"folder": ..., "bin": ..., ...}'`. It leaves to the
background, answers one line, empty when the server is ready, and closes its output.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal, TypedDict

USERS = "users"
LOCALE = "C.UTF-8" if sys.platform == "linux" else "en_US.UTF-8"
Mode = Literal["smart", "fast", "immediate"]


class Order(TypedDict):
    """What to start. `settings` are lines of postgresql.conf; `hba` is a whole pg_hba.conf."""

    folder: str
    bin: str
    superuser: str
    settings: list[str]
    hba: str


def server_account() -> pwd.struct_passwd | None:
    """Who the server runs as where that is not us: Postgres refuses root."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def run(folder: Path, *command: str | Path) -> None:
    """One of Postgres's programs, as who may run it; RuntimeError with what it said."""
    account = server_account()
    identity: dict[str, Any] = {}
    if account is not None:
        identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": ()}
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": LOCALE, "TZ": "UTC"}
    said = folder / "said"
    # A file, not a pipe: the server that pg_ctl leaves behind would hold a pipe open for ever.
    with said.open("wb") as output:
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
                **identity,
            )
        except PermissionError as exc:
            raise RuntimeError(
                f"{command[0]} cannot be run as {account and account.pw_name}: where tests run as root, everyone must be able to reach it."
            ) from exc
    if done.returncode != 0:
        log = folder / "log"
        raise RuntimeError(
            f"{Path(command[0]).name} failed: {said.read_text().strip()}\n{log.read_text() if log.exists() else ''}"
        )


def initialise(order: Order) -> None:
    folder, data = Path(order["folder"]), Path(order["folder"]) / "data"
    options = ["--no-sync", "--no-instructions", "-A", "trust", "-E", "UTF8", f"--locale={LOCALE}", "--wal-segsize=4"]
    run(folder, Path(order["bin"]) / "initdb", *options, "-U", order["superuser"], "-D", data)
    with (data / "postgresql.conf").open("a") as configuration:
        configuration.write("\n".join(["", *order["settings"], ""]))
    (data / "pg_hba.conf").write_text(order["hba"])


def start(folder: Path, programs: Path) -> None:
    """Returns when the server answers."""
    run(folder, programs / "pg_ctl", "start", "-w", "-t", "60", "-s", "-D", folder / "data", "-l", folder / "log")


def server_pid(folder: Path) -> int | None:
    """The running server, or None."""
    try:
        pid = int((folder / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    with contextlib.suppress(OSError):
        # A zombie has no command line, and another process that got the number has another.
        if str(folder).encode() not in Path(f"/proc/{pid}/cmdline").read_bytes():
            return None
    return pid


def stop(folder: Path, mode: Mode, *, seconds: float = 20) -> None:
    """Returns when the server is gone."""
    signals = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
    if (pid := server_pid(folder)) is None:
        return
    os.kill(pid, signals[mode])
    deadline = time.monotonic() + seconds
    while server_pid(folder) is not None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"Postgres has not stopped ({mode}) after {seconds:g} s.")
        time.sleep(0.01)


def remove(folder: Path) -> None:
    try:
        stop(folder, "immediate")
    except TimeoutError:
        if (pid := server_pid(folder)) is not None:
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while folder.exists() and time.monotonic() < deadline:
        # What was just killed may still be writing.
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.01)


def keep(order: Order) -> None:
    folder = Path(order["folder"])
    answer = ""
    try:
        with (folder / USERS).open("r+b") as users:
            try:
                initialise(order)
                start(folder, Path(order["bin"]))
            except Exception as exc:
                answer = f"{type(exc).__name__}: {exc}"
            print(json.dumps(answer), flush=True)
            with Path(os.devnull).open("r+b") as nothing:
                for descriptor in (0, 1, 2):
                    os.dup2(nothing.fileno(), descriptor)
            if not answer:
                fcntl.lockf(users, fcntl.LOCK_EX)
    finally:
        remove(folder)


def main() -> None:
    if os.fork():
        # Nobody's child: whoever started it has no process to wait for.
        os._exit(0)
    os.setsid()
    os.chdir("/")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    keep(json.loads(sys.argv[1]))


if __name__ == "__main__":
    main()
