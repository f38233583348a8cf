"""An application that does not come up, for the demo: it asks for a setting that nobody has made."""

import os

from .main import app

MODEL_FOLDER = os.environ["MASUKA_DEMO_MODEL_FOLDER"]

__all__ = ["app"]
