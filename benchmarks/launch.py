"""Starts one command from a small process and tells how it went: time, memory, exit code.

The system counts the memory of whoever forked a process as its own, so a large benchmark cannot start one itself.

    python launch.py RESULT.json COMMAND [ARGUMENT ...]
"""

import json
import os
import sys
import time

KILOBYTE = 1 if sys.platform == "darwin" else 1024

started = time.monotonic()
process = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(process, 0)
result = {
    "started": started,
    "ended": time.monotonic(),
    "cpu": used.ru_utime + used.ru_stime,
    "peak_bytes": used.ru_maxrss * KILOBYTE,
    "code": os.waitstatus_to_exitcode(status),
}
with open(sys.argv[1], "w", encoding="utf-8") as file:
    json.dump(result, file)
