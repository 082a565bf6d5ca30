"""The exit codes of the program, which its users' scripts know."""

from __future__ import annotations

EXIT_OK = 0
EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_KEY = 3
EXIT_CREDITS = 4
EXIT_RATE_LIMITED = 5
EXIT_PROVIDER = 6
