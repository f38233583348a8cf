"""The docs say what the source says: tables, errors, codes and diagrams are generated from it or compared with it.

`python tests/test_docs.py` writes the generated parts anew, after a look at what it changes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest

from masuka_magic.config.model import ConfigError
from masuka_magic.config.parse import read_config
from masuka_magic.config.schema import KEYS, OPTIONS, Key
from masuka_magic.config.world import World
from masuka_magic.endings import _SPAWN_CODES
from masuka_magic.events import Phase
from masuka_magic.process.argv import build_argv
from masuka_magic.state import OVER, TRANSITIONS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.glob("*.md")])

# What a key takes, by its kind. `{least}` and `{most}` are the key's own.
TAKES = {
    "application": "`module:attribute`",
    "bytes": "bytes, or a text such as `500 MB`; 100 kB to 1000 TB",
    "choice": "{choices}",
    "command": "text",
    "count": "{least} to {most}",
    "database": "URL, or `false`",
    "env": "table of names and values",
    "flag": "`true` or `false`",
    "host": "address",
    "json": "table",
    "minutes": "minutes, or a text such as `2 h`, or `never`",
    "module": "dotted name",
    "name": "up to 64 letters, digits, `.`, `-`, `_`",
    "path": "path",
    "paths": "path, or list of paths",
    "port": '{least} to {most}, or `"auto"`',
    "seconds": "seconds, or a text such as `2 min`; up to {most} s",
    "url_path": "path of a URL",
    "words": "list of texts, or one text",
}

FILES = {
    "/content/shop/bad.env": "REGION=eu\n= 2\n",
    "/content/shop/.env": "",
}
NOTEBOOK = {"HF_TOKEN": "hf", "model": object()}

# Input that starts nothing, by the place it is written in.
WRONG: list[tuple[str, Any]] = [
    ("cell", "prot = 8000"),
    ("cell", "timeout = 60"),
    ("cell", '[heath]\npath = "/"'),
    ("cell", "[health]\ntimout = 3"),
    ("cell", "restart = true"),
    ("cell", "app = app.main:app"),
    ("cell", "port = 8000\nport = 8001"),
    ("cell", 'app = "app.main"'),
    ("cell", 'app = "app/main.py"'),
    ("cell", 'app = "app.main:app"\nscript = "serve.py"'),
    ("cell", 'script = "serve.py"\nserver = "uvicorn"'),
    ("cell", 'server = "uvcorn"'),
    ("cell", 'factory = "yes"'),
    ("cell", 'port = "eighty"'),
    ("cell", 'host = "http://127.0.0.1"'),
    ("cell", 'stall = "soon"'),
    ("cell", "stall = 0"),
    ("cell", 'max_log = "10 kB"'),
    ("cell", 'health = "health"'),
    ("cell", 'name = "my backend"'),
    ("cell", 'command = "node \'server.js"'),
    ("cell", 'python = "python3.99"'),
    ("cell", 'cwd = "~shop"'),
    ("cell", 'env_file = "prod.env"'),
    ("cell", 'env_file = "bad.env"'),
    ("cell", 'database = "shop"'),
    ("cell", "[env]\nport = 8000"),
    ("cell", '[env]\nHF_TOKEN = "$HF_TOKN"'),
    ("cell", '[env]\nMODEL = "$model"'),
    ("cell", '[env]\nPRICE = "${5}"'),
    ("cell", 'args = ["--port", 9000]'),
    ("masuka.toml", "prot = 8000"),
    ("line", "app.main"),
    ("line", "port=8000"),
    ("line", "--prot 8000"),
    ("line", "--port"),
    ("line", "app.main:app serve.py"),
    ("line", "--restart --reuse"),
    ("line", "--health-json ok"),
    ("line", '"app.main:app'),
    ("start()", {"prot": 8000}),
    ("start()", {"wait": "no"}),
    ("spawn", 'args = "--port 9000"'),
    ("spawn", 'args = "--uds shop.sock"'),
]


def key_table() -> list[str]:
    """Make the table of keys from the schema."""
    rows = ["| key | option | takes | meaning | default |", "| --- | --- | --- | --- | --- |"]
    for key in KEYS.values():
        option = f"{key.option} {key.metavar}".rstrip()
        takes = _takes(key) + ("; `$NAME`" if key.fills else "")
        default = f"`{key.default}`" if re.fullmatch(r"[\w.:/]+", key.default) else key.default
        rows.append(f"| `{'.'.join(key.path)}` | `{option}` | {takes} | {key.doc} | {default} |")
    return rows


def _takes(key: Key) -> str:
    choices = ", ".join(f"`{choice}`" for choice in key.choices)
    return TAKES[key.kind].format(least=f"{key.least:.0f}", most=f"{key.most:,.0f}", choices=choices)


def option_table() -> list[str]:
    """Make the table of the options that belong to one call."""
    rows = ["| option | from Python | does |", "| --- | --- | --- |"]
    for name, (default, option, does) in OPTIONS.items():
        rows.append(f"| `{option}` | `{name}={not default}` | {does} |")
    return rows


def error_table() -> list[str]:
    """Make the table of wrong input and what is answered to it."""
    rows = ["| written | answer |", "| --- | --- |"]
    for place, written in WRONG:
        shown = written if isinstance(written, str) else ", ".join(f"{k}={v!r}" for k, v in written.items())
        code = "<br>".join(f"`{line}`" for line in shown.split("\n"))
        rows.append(f"| {code} | {answer(place, written)} |")
    return rows


def answer(place: str, written: Any) -> str:
    """Read wrong input, build a command line from what can be read, and return the error."""
    files = {**FILES, **({"/content/shop/masuka.toml": written} if place == "masuka.toml" else {})}
    try:
        config, _ = read_config(
            line=written if place == "line" else "",
            cell=written if place in {"cell", "spawn"} else None,
            overrides=written if place == "start()" else None,
            world=_world(files),
        )
        build_argv(config, config.port or 8000)
    except ConfigError as error:
        return str(error)
    raise AssertionError(f"{written!r} is right")


def _world(files: Mapping[str, str]) -> World:
    return World(
        cwd="/content/shop",
        python="/usr/bin/python3",
        environ={"HOME": "/root"},
        namespace=NOTEBOOK,
        read_text=files.get,
        secret=lambda _: None,
        which=lambda _: None,
    )


def state_diagram() -> list[str]:
    """Draw the table of transitions; arrows between the same two states share one."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (before, event), after in TRANSITIONS.items():
        arrows.setdefault((before, after), []).append(event.__name__)
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> new"]
    lines += [f"    {before} --> {after}: {', '.join(names)}" for (before, after), names in arrows.items()]
    lines += [f"    {phase} --> [*]" for phase in get_args(Phase) if phase in OVER]
    return [*lines, "```"]


def room_table() -> list[str]:
    """Make the table of the rooms and what each must not know, as tests/test_layout.py holds it."""
    tree = ast.parse((ROOT / "tests" / "test_layout.py").read_text())
    forbidden = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FORBIDDEN_ROOMS"
    )
    rows = ["| room | must not import |", "| --- | --- |"]
    return rows + [
        f"| `{room}` | {', '.join(f'`{r}`' for r in sorted(not_it))} |" for room, not_it in forbidden.items()
    ]


GENERATED = {
    ("configuration.md", "keys"): key_table,
    ("configuration.md", "options"): option_table,
    ("configuration.md", "errors"): error_table,
    ("architecture.md", "states"): state_diagram,
    ("architecture.md", "rooms"): room_table,
}


def place_of(page: str, part: str) -> re.Pattern[str]:
    """Find a generated part of a page: what stands between its two marks."""
    return re.compile(rf"(<!-- generated: {part} -->\n).*?(<!-- end: {part} -->)", re.DOTALL)


def codes_in_source() -> Iterator[str]:
    """Yield the codes that findings are made with."""
    yield from _SPAWN_CODES.values()
    for path in (ROOT / "masuka_magic").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            maker = ast.unparse(node.func).rpartition(".")[2]
            first = node.args[0]
            if maker in {"Finding", "finding"} and isinstance(first, ast.Constant):
                yield str(first.value)


def blocks(page: Path, language: str) -> Iterator[str]:
    """Yield the fenced blocks of one language."""
    yield from re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def page(request: pytest.FixtureRequest) -> Path:
    """Give each page in its turn."""
    found: Path = request.param
    return found


@pytest.mark.parametrize(("page_name", "part"), GENERATED, ids=[part for _, part in GENERATED])
def test_a_generated_part_is_in_step(page_name, part):
    """A table or a diagram in the docs is the one that the source gives now."""
    found = place_of(page_name, part).search((DOCS / page_name).read_text())
    assert found is not None
    shown = found[0][len(found[1]) : -len(found[2])].strip().splitlines()
    assert GENERATED[page_name, part]() == shown, "python tests/test_docs.py writes it anew"


def test_every_code_has_its_line():
    """docs/findings.md lists exactly the codes that the source can give, each once."""
    listed = re.findall(r"^\| `([a-z-]+)` \|", (DOCS / "findings.md").read_text(), re.MULTILINE)
    assert sorted(set(codes_in_source())) == sorted(listed)


def test_shown_output_fits_a_terminal(page):
    """What is shown as output takes 80 columns at most."""
    wide = [line for block in blocks(page, "text") for line in block.splitlines() if len(line) > 80]
    assert wide == []


def test_links_lead_somewhere(page):
    """A link to another file of the project leads to a file that is there."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_two_commands_stand_in_the_readme():
    """The demo and the tests are one command each; the tests' command is the one of docs/development.md."""
    lines = (ROOT / "README.md").read_text().splitlines()
    commands = [line for line in lines if line.startswith("python3 -m venv")]
    demo, tests = commands
    assert demo.endswith(".venv/bin/python -m masuka_magic.demo")
    assert [tests] == [line for line in blocks_of_development() if "nox[uv]" in line]


def blocks_of_development() -> list[str]:
    return [line for block in blocks(DOCS / "development.md", "") for line in block.splitlines()]


def write_generated() -> None:
    """Write every generated part anew."""
    for (name, part), make in GENERATED.items():
        path = DOCS / name
        text = "\n".join(["", *make(), "", ""]).replace("\\", "\\\\")
        path.write_text(place_of(name, part).sub(rf"\g<1>{text}\g<2>", path.read_text()))


if __name__ == "__main__":
    write_generated()
