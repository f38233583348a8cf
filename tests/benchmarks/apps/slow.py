"""Imports for two seconds longer, without using a processor."""

import time

from .quick import app

time.sleep(2.0)

__all__ = ["app"]
