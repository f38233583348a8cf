"""Writes 200 MB of different lines to stderr before it serves: line by line, as logging and warnings do."""

import sys

from .quick import app

LINE_BYTES, LINES, ROUNDS = 100, 1_000, 2_000

lines = [
    f"line {line} of what a library says while it is imported".ljust(LINE_BYTES - 1) + "\n"
    for line in range(LINES)
]
for _ in range(ROUNDS):
    for one in lines:
        sys.stderr.write(one)

__all__ = ["app"]
