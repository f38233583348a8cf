"""The panel's words for quantities; the diagnosis uses the same, so they live beside both."""

from masuka_magic.quantities import duration, size

__all__ = ["duration", "size"]
