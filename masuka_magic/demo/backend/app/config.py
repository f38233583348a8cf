"""Settings from the environment: `DATABASE_URL`, and how long the warm-up takes."""

import os

APP_NAME = "Masuka demo"
APP_VERSION = "1.0.0"

DATABASE_URL = os.environ.get("DATABASE_URL", "postgresql://masuka@127.0.0.1:5432/masuka")
WARM_UP_S = float(os.environ.get("DEMO_WARM_UP_S", "0.3"))
