"""Writes 200 MB of different lines to stderr before it serves."""

import os

from .quick import app

LINE_BYTES, LINES, BLOCKS = 100, 1_000, 2_000


def block(number: int) -> bytes:
    lines = (
        f"block {number} line {line} of what a library says while it is imported" for line in range(LINES)
    )
    return b"".join(line.encode().ljust(LINE_BYTES - 1) + b"\n" for line in lines)


few = [block(number) for number in range(10)]
for number in range(BLOCKS):
    os.write(2, few[number % len(few)])

__all__ = ["app"]
