"""`python tests/browser/shots.py FOLDER`: pictures of the panel's states, light and dark, wide and narrow.

For the eye: nothing is compared. Needs a chromium.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from masuka_magic.panel.html import panel_html
from tests.browser.states import panels

#: What JupyterLab's two themes say; a page without them is Colab's or the classic notebook's case.
THEMES = {
    "light": "--jp-content-font-color1:rgba(0,0,0,.87);--jp-layout-color1:#fff;background:#fff",
    "dark": "--jp-content-font-color1:#fff;--jp-layout-color1:#111;background:#111",
}
SIZES = {"wide": 900, "narrow": 400}
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def page(theme: str, names: list[str], width: int) -> str:
    """Write a document with the panels of these names, one below the other."""
    shown = panels()
    column = "".join(
        f'<div style="margin:0 0 14px">{panel_html(shown[name], turn_s=0.3)}</div>' for name in names
    )
    return (
        f'<!doctype html><meta charset="utf-8"><body style="margin:0;padding:10px;box-sizing:border-box;'
        f'width:{width}px;{THEMES[theme]}">{column}'
    )


def main() -> int:
    """Take the pictures; 1 where there is no chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.stderr.write("shots: no chromium on PATH\n")
        return 1
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    groups = {
        "a": ["starting", "first", "checking", "ready", "stopped"],
        "b": ["failed", "check-failed"],
        "c": ["stalled", "exited"],
    }
    with tempfile.TemporaryDirectory() as profile:
        for theme in THEMES:
            for size, width in SIZES.items():
                for group, names in groups.items():
                    source = Path(profile, "page.html")
                    source.write_text(page(theme, names, width))
                    picture = folder / f"{theme}-{size}-{group}.png"
                    # A window of chromium is at least 500 wide; the page itself is as narrow as asked.
                    place = f"--window-size={max(width, 500)},1250"
                    shot = f"--screenshot={picture}"
                    data = f"--user-data-dir={profile}/profile"
                    subprocess.run(
                        [chromium, *OPTIONS, data, place, shot, source.as_uri()],
                        check=True,
                        capture_output=True,
                    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
