"""The panel in JupyterLab and a real browser: one picture, the host's colours, alive after the cell."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import requests

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH"),
    pytest.mark.timeout(240),
]

HEALTHY = """
    from fastapi import FastAPI
    app = FastAPI()

    @app.get("/health")
    def health():
        return {"status": "ok", "app": "<img src=x onerror=document.title='broken'>", "version": "1.2.3"}
"""
OPTIONS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
OPTIONS += ["--disable-component-update", "--disable-sync"]
PATIENCE_MS = 60_000


@pytest.fixture
def lab(tmp_path, free_port, take_port, wait_until) -> Iterator[tuple[str, Path]]:
    """Give the address of a JupyterLab in folders of its own, and the folder with the notebook."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "main.py").write_text(textwrap.dedent(HEALTHY))
    cells = ["%load_ext masuka_magic", f"%masuka_start main:app --port {take_port()} --no-database"]
    cells += ["from pathlib import Path\n_ = Path('pid').write_text(str(masuka.pid))"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / "panel.ipynb")
    settings = tmp_path / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
    names = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime"}
    names |= {
        "IPYTHONDIR": "ipython",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "spaces",
    }
    env = {**os.environ, **{name: str(tmp_path / place) for name, place in names.items()}}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += [f"--port={free_port}", "--IdentityProvider.token=", "--ServerApp.password="]
    with (tmp_path / "lab.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{free_port}"

    def answers() -> bool:
        assert server.poll() is None, (tmp_path / "lab.log").read_text()
        try:
            return requests.get(f"{address}/api/kernels", timeout=5).ok
        except requests.ConnectionError:
            return False

    try:
        wait_until(answers, 60, "JupyterLab")
        yield address, folder
        for kernel in requests.get(f"{address}/api/kernels", timeout=5).json():
            requests.delete(f"{address}/api/kernels/{kernel['id']}", timeout=30)
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture
def page() -> Iterator[Any]:
    """Give a page of a headless chromium."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=OPTIONS, chromium_sandbox=os.geteuid() != 0
        )
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.set_default_timeout(PATIENCE_MS)
        yield page
        browser.close()


def colour(page: Any, value: str) -> str:
    """Return what a CSS colour is on this page, as the browser writes it."""
    script = "v => { const e = document.createElement('i'); e.style.color = v; document.body.append(e);"
    script += " const c = getComputedStyle(e).color; e.remove(); return c; }"
    return str(page.evaluate(script, value))


def test_the_panel_lives_in_jupyterlab(lab, page, wait_until, tmp_path):
    """One widget, ready; a death is shown without any cell; the saved copy holds HTML alone."""
    address, folder = lab
    page.goto(f"{address}/lab/tree/panel.ipynb?reset")
    page.wait_for_selector(".jp-Notebook")

    def connected() -> bool:
        kernels = requests.get(f"{address}/api/kernels", timeout=5).json()
        return any(one["connections"] >= 1 and one["execution_state"] == "idle" for one in kernels)

    wait_until(connected, 60, "the kernel")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    panel = page.locator(".masuka-panel .mk")
    sync_api.expect(panel).to_contain_text("is ready", timeout=PATIENCE_MS)
    assert (1, 1) == (page.locator(".masuka-panel").count(), page.locator(".mk").count())
    assert 0 == panel.locator("img").count()
    assert "broken" not in page.title()
    background = panel.evaluate("e => getComputedStyle(e).backgroundColor")
    assert colour(page, "var(--jp-layout-color1)") == background
    page.screenshot(path=tmp_path / "ready.png")

    wait_until((folder / "pid").exists, 30, "the last cell")
    os.kill(int((folder / "pid").read_text()), signal.SIGKILL)
    # The widget made room for what stays.
    static = page.locator(".jp-OutputArea-output .mk")
    sync_api.expect(static).to_contain_text("has ended", timeout=PATIENCE_MS)
    sync_api.expect(page.locator(".masuka-panel")).to_have_count(0)
    page.screenshot(path=tmp_path / "ended.png")

    page.keyboard.press("Control+s")
    wait_until(lambda: "has ended" in (folder / "panel.ipynb").read_text(), 30, "the saving")
    assert "widget-view" not in (folder / "panel.ipynb").read_text()
