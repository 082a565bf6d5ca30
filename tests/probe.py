"""Says what a process finds itself to be: `python -m tests.probe`; with an argument, it ends in some way instead."""

from __future__ import annotations

import atexit
import gc
import json
import locale
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any


def standard_stream(stream: Any) -> dict[str, Any]:
    """All that can be asked of sys.stdin and the like."""
    names = ("encoding", "errors", "line_buffering", "write_through", "newlines", "name", "mode", "closed")
    raw = {name: getattr(stream.buffer.raw, name) for name in ("name", "mode", "closefd")}
    return {name: getattr(stream, name) for name in names} | {
        "types": [str(type(each)) for each in (stream, stream.buffer, stream.buffer.raw)],
        "raw": raw,
        "number": stream.fileno(),
        "is_terminal": stream.isatty(),
        "is_its_own": stream is getattr(sys, f"__{stream.name.strip('<>')}__"),
    }


def found() -> dict[str, Any]:
    """What is the same in every process that was started in the same way."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text("utf-8").splitlines())
    main = sys.modules["__main__"]
    return {
        "environment": dict(os.environ),
        "kept environment": os.environ is sys.modules["os"].environ,
        "arguments": (sys.argv, sys.orig_argv, sys.executable),
        "path": sys.path,
        "flags": str(sys.flags),
        "warnings": sys.warnoptions,
        "main": (main.__name__, main.__file__, main.__spec__ and main.__spec__.name, vars(main) is globals()),
        "streams": [standard_stream(stream) for stream in (sys.stdin, sys.stdout, sys.stderr)],
        "descriptors": sorted(int(entry.name) for entry in Path("/proc/self/fd").iterdir()),
        "folder": str(Path.cwd()),
        "kernel": {name: status[name] for name in ("Umask", "Threads", "SigBlk", "SigIgn", "SigCgt", "NoNewPrivs", "CapEff")},
        "signals": {int(number): str(signal.getsignal(number)) for number in signal.valid_signals()},
        "wakeup": signal.set_wakeup_fd(-1),
        "session": (os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid()),
        "group": None if os.getpgrp() == os.getpid() else os.getpgrp(),
        "in front": os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp(),
        "limits": [resource.getrlimit(number) for number in range(16)],
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "time": (time.tzname, time.timezone, time.localtime(0).tm_hour),
        "locale": (locale.setlocale(locale.LC_ALL), sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()),
        "threads": [thread.name for thread in threading.enumerate()],
        "collector": (gc.isenabled(), gc.get_threshold()),
        "temporary": tempfile.tempdir,
        "recursion": sys.getrecursionlimit(),
    }  # fmt: skip


def end(way: str) -> None:
    """End in a way that has a name."""
    if way == "code":
        sys.exit(7)
    if way == "words":
        sys.exit("no, thanks")
    if way == "error":
        raise ValueError("it broke")
    if way == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if way == "terminated":
        os.kill(os.getpid(), signal.SIGTERM)
    if way == "interrupted":
        os.kill(os.getpid(), signal.SIGINT)
    if way == "thread":
        threading.Timer(0.1, print, ["thread"]).start()
    if way == "leave":
        os.write(1, b"at once")
        os._exit(3)
    if way == "stop":
        time.sleep(60)
    atexit.register(print, "at exit")
    sys.stdout.write("unflushed, ")


if __name__ == "__main__":
    if sys.argv[1:2] == ["end"]:
        end(sys.argv[2])
    elif sys.argv[1:2] == ["random"]:
        print(random.random())
    else:
        print(json.dumps(found()))
