"""Ends in the middle of its import without a word, as a library does that calls exit; notes when."""

import os
import time
from pathlib import Path

from .quick import app

__all__ = ["app"]

Path(os.environ["BENCHMARK_STAMP"]).write_text(str(time.monotonic()))
os._exit(3)
