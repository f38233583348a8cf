"""Install a source tree with pip into this environment and fail if anything that was there has moved.

Run by nox with the interpreter of an environment that holds Colab's pins. Colab also has psycopg2, built from
source, in the folder that psycopg2-binary brings too. Here its files come from psycopg2-binary's wheel of the
same version, entered in the list of installed distributions under the name psycopg2: a build would need a
compiler and the headers of PostgreSQL.
"""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

PSYCOPG2 = "2.9.12"


def call_it_psycopg2() -> None:
    """Enter psycopg2-binary's files under the name of psycopg2."""
    binary = metadata.distribution("psycopg2-binary")
    assert binary.version == PSYCOPG2, binary.version
    old = Path(str(binary.locate_file(f"psycopg2_binary-{PSYCOPG2}.dist-info")))
    new = old.with_name(f"psycopg2-{PSYCOPG2}.dist-info")
    old.rename(new)
    for file, name, other in (
        ("METADATA", "Name: psycopg2-binary", "Name: psycopg2"),
        ("RECORD", old.name, new.name),
    ):
        text = (new / file).read_text()
        assert name in text, f"{new / file} has no {name!r}"
        # A new file: the old one may be a hard link into the cache of uv, for every environment to come.
        (new / file).unlink()
        (new / file).write_text(text.replace(name, other))


def installed() -> dict[str, str]:
    """Return the distributions of this environment with their versions, as a new process sees them."""
    program = (
        "from importlib.metadata import distributions\n"
        "for one in distributions(): print(one.metadata['Name'], one.version)"
    )
    lines = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    return dict(line.split() for line in lines.splitlines())


def main(source: str) -> None:
    """Compare the distributions before and after, then import psycopg2."""
    call_it_psycopg2()
    before = installed()
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", source], check=True)
    after = installed()
    moved = {
        name: (version, after.get(name)) for name, version in before.items() if after.get(name) != version
    }
    assert moved == {}, f"moved by the installation: {moved}"
    print(
        "came with masuka_magic:", *sorted(f"{name} {after[name]}" for name in after.keys() - before.keys())
    )

    program = "import psycopg2\nprint(psycopg2.__version__)"
    version = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.split()[0]
    assert tuple(map(int, version.split("."))) >= tuple(map(int, PSYCOPG2.split("."))), version
    print("psycopg2 imports, version", version)


if __name__ == "__main__":
    main(sys.argv[1])
