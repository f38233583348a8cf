from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

import masuka_magic
from masuka_magic.demo.postgres import EmbeddedPostgres

pytestmark = pytest.mark.timeout(180)
BACKEND = Path(masuka_magic.__file__).parent / "demo" / "backend"


def command(port: int) -> list[str]:
    return [sys.executable, "-m", "uvicorn", "app.main:app", "--host", "127.0.0.1", "--port", str(port)]


@pytest.fixture(scope="module")
def url(take_port: Callable[[], int], wait_until: Callable[..., object], tmp_path_factory) -> Iterator[str]:
    """Start the backend by hand, as a user would, against a real server."""
    port = take_port()
    log = tmp_path_factory.mktemp("backend") / "log"
    with EmbeddedPostgres() as server, log.open("wb") as file:
        env = {**os.environ, "DATABASE_URL": server.url}
        process = subprocess.Popen(command(port), cwd=BACKEND, env=env, stdout=file, stderr=file)
        address = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return requests.get(f"{address}/health", timeout=5).ok
            except requests.ConnectionError:
                return False

        try:
            wait_until(answers, 60, "the first answer")
            yield address
        finally:
            process.terminate()
            process.wait(30)


def test_health_names_the_application(url) -> None:
    """The health answer has the name and the version that the panel shows."""
    expected = {"status": "ok", "app": "Masuka demo", "version": "1.0.0"}

    assert expected == requests.get(f"{url}/health", timeout=10).json()


def test_a_project_is_created_read_changed_and_deleted(url) -> None:
    """The resource does what its methods say, in the database."""
    made = requests.post(f"{url}/projects", json={"name": "first"}, timeout=10)
    one = f"{url}/projects/{made.json()['id']}"
    changed = requests.put(one, json={"name": "first", "description": "changed"}, timeout=10)

    assert (201, "first") == (made.status_code, made.json()["name"])
    assert (200, "changed") == (changed.status_code, changed.json()["description"])
    assert requests.get(one, timeout=10).json() in requests.get(f"{url}/projects", timeout=10).json()
    assert requests.delete(one, timeout=10).status_code == 204
    assert requests.get(one, timeout=10).status_code == 404


def test_a_name_is_taken_once(url) -> None:
    """A second project of the same name is a conflict, an empty name is refused."""
    first = requests.post(f"{url}/projects", json={"name": "twice"}, timeout=10)
    second = requests.post(f"{url}/projects", json={"name": "twice"}, timeout=10)
    empty = requests.post(f"{url}/projects", json={"name": ""}, timeout=10)

    assert [201, 409, 422] == [first.status_code, second.status_code, empty.status_code]


def test_without_a_database_it_ends_on_import(free_port) -> None:
    """The tables are made at import, so a refused connection ends the start before the port opens."""
    env = {**os.environ, "DATABASE_URL": f"postgresql://masuka:x@127.0.0.1:{free_port}/masuka"}

    ended = subprocess.run(
        command(free_port), cwd=BACKEND, env=env, capture_output=True, text=True, check=False
    )

    assert ended.returncode != 0
    assert "Connection refused" in ended.stderr
