"""$NAME: where it is filled in, from where, and what becomes a secret."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path, PurePosixPath

import pytest

from masuka_magic.config.model import StartConfig


def env_of(read, text: str, **kernel: object) -> str:
    config: StartConfig = read("", f"[env]\nX = '{text}'", **kernel)
    return config.env["X"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A", "one"),
        ("${A}", "one"),
        ("a${A}b$A-", "aoneb" + "one-"),
        ("$$A", "$A"),
        ("$$$A", "$one"),
        ("5$", "5$"),
        ("$5 $ $-", "$5 $ $-"),
        ("{A}", "{A}"),
    ],
)
def test_names_are_filled_in(read, text, expected):
    """$NAME and ${NAME} are values, $$ is a dollar sign, any other dollar sign stands for itself."""
    assert expected == env_of(read, text, namespace={"A": "one"})


def test_what_was_filled_in_is_not_read_again(read):
    """A value that holds a dollar sign is only a value."""
    assert "$B" == env_of(read, "$A", namespace={"A": "$B", "B": "no"})


def test_the_notebook_comes_before_the_environment_and_that_before_colab(read):
    """The order is the kernel's variables, the environment, Colab's secrets."""
    kernel = {
        "namespace": {"A": "nb"},
        "environ": {"A": "env", "B": "env"},
        "secrets": dict.fromkeys("ABC", "colab"),
    }
    assert "nb env colab" == env_of(read, "$A $B $C", **kernel)


def test_colab_is_asked_once_and_only_for_what_stands_nowhere_else():
    """A secret may open a dialog: one question for a name, none for a name that is known."""
    from dataclasses import replace

    from masuka_magic.config.parse import read_config
    from masuka_magic.config.world import World

    asked: list[str] = []

    def secret(name: str) -> str:
        asked.append(name)
        return "from colab"

    world = World("/nb", "/py", {"A": "1"}, {}, lambda _path: None, secret, lambda _name: None)
    cell = '[env]\nX = "$A $B"\nY = "$B"'
    read_config(line="", cell=cell, overrides=None, world=replace(world, secret=secret))
    assert ["B"] == asked


class Level(IntEnum):
    HIGH = 3


class Loud(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise AssertionError("foreign code was run")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, "7"),
        (True, "true"),
        (1.5, "1.5"),
        (Path("/a/b"), "/a/b"),
        (PurePosixPath("c"), "c"),
        (Level.HIGH, "3"),
        (Loud("quiet"), "quiet"),
    ],
)
def test_plain_values_of_the_notebook_are_filled_in(read, value, expected):
    """Text, numbers, booleans and paths have one obvious text; no method of theirs is called."""
    assert expected == env_of(read, "$A", namespace={"A": value})


@pytest.mark.parametrize(
    ("value", "found"),
    [([1], "a list"), (None, "a NoneType"), (object(), "an object"), (10**400, "so large a number")],
)
def test_other_values_are_refused(error_of, value, found):
    """An object has no obvious text, and the environment is not asked behind its back."""
    error = error_of("", '[env]\nX = "$A"', namespace={"A": value}, environ={"A": "env"})
    assert f"cell, [env]: X needs $A, which is {found} in the notebook, not a text, number or path" == error


def test_names_are_filled_in_where_the_table_says(read):
    """[env], database and args know $NAME; a folder, a command, a health path do not."""
    kernel = {"namespace": {"A": "one"}}
    config = read(
        "", 'args = ["$A", "-$A"]\ncwd = "$A"\ndatabase = "postgresql://$A/d"\nhealth = "/$A"', **kernel
    )
    assert (("one", "-one"), "/nb/$A", "/$A") == (config.args, config.cwd, config.health.path)
    assert config.database is not None
    assert "postgresql://one/d" == config.database.url
    assert "$A b" == read("", 'command = "$A b"', **kernel).target.value


def test_a_filled_in_word_is_not_split(read):
    """Args are split before names are filled in: a value with a blank stays one argument."""
    assert ("--k", "a b") == read("--args '--k $A'", namespace={"A": "a b"}).args


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        ("p@ss/w?#", "p%40ss%2Fw%3F%23"),
        ("p%40ss", "p%40ss"),
        ("100%", "100%25"),
        ("a:b", "a:b"),
        ("plain", "plain"),
    ],
)
def test_a_password_is_encoded_inside_a_url(read, password, expected):
    """A password with an @ would end the URL's user part; one that is encoded already is left."""
    config = read("", '[database]\nurl = "postgresql://u:$PW@h:5432/d"', namespace={"PW": password})
    assert config.database is not None
    assert f"postgresql://u:{expected}@h:5432/d" == config.database.url


@pytest.mark.parametrize("text", ["$U", "x://$U/d", "mail $U@h", "x://h/$U@x"])
def test_nothing_is_encoded_outside_the_user_part(read, text):
    """A whole URL, a host, a path and other text are filled in as they are."""
    assert text.replace("$U", "a@b/c") == env_of(read, text, namespace={"U": "a@b/c"})


SECRETS = [
    # what the cell says, the kernel, the secrets
    ('[env]\nX = "$A"', {"namespace": {"A": "s3cret-value"}}, {"s3cret-value"}),
    ('[env]\nX = "a$A"', {"secrets": {"A": "/stored"}}, {"/stored", "%2Fstored"}),
    ('[env]\nX = "$HOME/x"', {"environ": {"HOME": "/home/me"}}, set()),
    ('[env]\nX = "$DB_NAME"', {"namespace": {"DB_NAME": "masuka-db"}}, set()),
    ('[env]\nX = "$A"', {"namespace": {"A": Path("/a/path")}}, set()),
    ('[env]\nX = "$P $T"', {"environ": {"P": "8000", "T": "true"}}, set()),
    ('[env]\nX = "$A"', {"namespace": {"A": "abc"}}, set()),
    ('[env]\nHF_TOKEN = "plain-text"\nDEBUG = "plain"', {}, {"plain-text"}),
    ('[env]\nTOKENIZERS_PARALLELISM = "sometimes"', {}, set()),
    ('[env]\nX = "redis://:r3dis-pw@h"', {}, {"r3dis-pw"}),
    ('database = "postgresql://u:p%40ss@h/d"', {}, {"p%40ss", "p@ss"}),
    ("port = 1", {"environ": {"OPENAI_API_KEY": "from-kernel"}}, {"from-kernel"}),
    ("port = 1", {"files": {"/nb/.env": "DB_PASSWORD=in-dotenv\nAPP=name"}}, {"in-dotenv"}),
    ('env_file = "e"', {"files": {"/nb/e": "MY_SECRET=in-file"}}, {"in-file"}),
]


@pytest.mark.parametrize(("cell", "kernel", "expected"), SECRETS)
def test_what_is_a_secret(read, cell, kernel, expected):
    """Filled-in values, variables with a secret's name, passwords of URLs; nothing short, common or a place."""
    assert expected == read("", cell, **{"environ": {}, **kernel}).secrets


def test_the_stored_form_keeps_names_and_masks_literals(read):
    """`raw` is what the user wrote: names to be resolved again, and no secret's value."""
    cell = """
app = "a:b"
stall = "1 min"
args = ["--key", "$KEY", "--api-key=literal-key"]
[env]
HF_TOKEN = "$HF_TOKEN"
MIXED_TOKEN = "abc${HF_TOKEN}"
SHORT_KEY = "abc"
PLAIN = "$$x"
[database]
url = "postgresql://masuka:literal-pw@localhost/$DB"
[health]
json = { ok = true }
"""
    namespace = {"KEY": "the-key", "HF_TOKEN": "the-token", "DB": "masuka-db"}
    expected = {
        "app": "a:b",
        "args": ["--key", "$KEY", "--api-key=•••"],
        "env": {"HF_TOKEN": "$HF_TOKEN", "MIXED_TOKEN": "•••${HF_TOKEN}", "PLAIN": "$$x", "SHORT_KEY": "•••"},
        "health": {"json": {"ok": True}},
        "database": "postgresql://masuka:•••@localhost/$DB",
        "stall": 60.0,
    }
    assert expected == read("", cell, namespace=namespace).raw


def test_a_name_for_the_password_stays_in_the_stored_form(read):
    """$NAME where a password stands is no password."""
    url = "postgresql://masuka:$PW@localhost/d"
    assert {"database": url} == read("", f'database = "{url}"', namespace={"PW": "the-password"}).raw


def test_the_stored_form_can_be_read_back(read):
    """Given to start() it makes the same configuration."""
    cell = """
script = "c.py"
cwd = "b"
port = "auto"
args = ["--x", "$A"]
orphan_grace = "never"
max_log = "2 GB"
max_wait = "3 min"
gpu = true
[env]
X = 5
[health]
path = "/up"
timeout = "2 s"
json = { a = [1, { b = "c" }] }
"""
    import json

    first = read("", cell, namespace={"A": "value"})
    again = read(start=json.loads(json.dumps(dict(first.raw))), namespace={"A": "value"})
    assert first == again
