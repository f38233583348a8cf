"""Start a web backend from a notebook cell and, when it does not come up, say why."""

__version__ = "0.1.0"
