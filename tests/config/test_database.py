"""Which database is checked, and that the backend gets the same."""

from __future__ import annotations

import pytest

from masuka_magic.config.model import Database

URL = "postgresql://u:pw-of-u@h/d"
OTHER = "postgresql://u:other-pw@h2/d2"
ENV = f'[env]\nDATABASE_URL = "{URL}"'
KERNEL = "the kernel's environment"


@pytest.mark.parametrize(
    ("cell", "files", "environ", "expected"),
    [
        ("port = 1", {}, {}, None),
        ("port = 1", {"/nb/.env": f"DATABASE_URL={URL}"}, {}, Database(URL, ".env")),
        ("port = 1", {}, {"DATABASE_URL": URL}, Database(URL, KERNEL)),
        ('env_file = "e.env"', {"/nb/e.env": f"DATABASE_URL={URL}"}, {}, Database(URL, "env_file e.env")),
        (ENV, {}, {}, Database(URL, "[env]")),
        ("port = 1", {"/nb/.env": f"DATABASE_URL={URL}"}, {"DATABASE_URL": URL}, Database(URL, KERNEL)),
        (
            "port = 1",
            {"/nb/.env": f"DATABASE_URL={OTHER}"},
            {"DATABASE_URL": URL},
            Database(URL, KERNEL, ".env"),
        ),
        (ENV, {"/nb/.env": f"DATABASE_URL={OTHER}"}, {"DATABASE_URL": OTHER}, Database(URL, "[env]", ".env")),
        (ENV, {}, {"DATABASE_URL": OTHER}, Database(URL, "[env]")),
        ("port = 1", {"/nb/.env": f"DATABASE_URL={OTHER}"}, {"DATABASE_URL": ""}, None),
        (f"database = false\n{ENV}", {}, {}, None),
    ],
)
def test_the_url_is_the_one_that_the_backend_will_see(read, cell, files, environ, expected):
    """[env], env_file, the kernel's environment, .env, in this order; a .env that is hidden is said so."""
    config = read("", cell, files=files, environ=environ)
    assert expected == config.database


@pytest.mark.parametrize("cell", [f'database = "{URL}"', f'[database]\nurl = "{URL}"'])
def test_a_url_of_the_cell_is_given_to_the_backend(read, cell):
    """What is checked is what the backend gets as DATABASE_URL."""
    config = read("", cell)
    assert Database(URL, "database") == config.database
    assert {"DATABASE_URL": URL} == config.env


@pytest.mark.parametrize(
    ("more", "files", "environ", "hidden"),
    [
        ("", {"/nb/.env": f"DATABASE_URL={OTHER}"}, {}, ".env"),
        ("", {}, {"DATABASE_URL": OTHER}, KERNEL),
        (f'\n[env]\nDATABASE_URL = "{OTHER}"', {}, {}, "[env]"),
        ('\nenv_file = "e"', {"/nb/e": f"DATABASE_URL={OTHER}"}, {}, "env_file e"),
        ("", {"/nb/.env": f"DATABASE_URL={URL}"}, {}, None),
    ],
)
def test_a_url_of_the_cell_hides_every_other(read, more, files, environ, hidden):
    """`database` is stronger than any DATABASE_URL, and what it hides is said."""
    config = read("", f'database = "{URL}"{more}', files=files, environ=environ)
    assert Database(URL, "database", hidden) == config.database
    assert URL == {**files_env(files), **environ, **config.env}["DATABASE_URL"]


def files_env(files: dict[str, str]) -> dict[str, str]:
    return dict(text.split("=", 1) for text in files.values())


def test_the_same_database_under_another_driver_is_left_to_the_backend(read):
    """The check needs no driver; an asynchronous backend needs its own."""
    asynchronous = URL.replace("postgresql", "postgresql+asyncpg")
    config = read(
        "", f'database = "{URL.replace("postgresql", "postgres")}"', environ={"DATABASE_URL": asynchronous}
    )
    assert {} == config.env
    assert config.database is not None
    assert config.database.hidden is None


def test_a_dotenv_sees_what_the_child_sees(read):
    """${NAME} in .env takes the environment's value first, as load_dotenv does, [env] included."""
    files = {"/nb/.env": "PW=file\nHOST=from-file\nDATABASE_URL=postgresql://u:${PW}@${HOST}/d"}
    config = read("", '[env]\nPW = "cell-pw"', files=files)
    assert Database("postgresql://u:cell-pw@from-file/d", ".env") == config.database


def test_an_unreadable_dotenv_matters_only_where_the_url_must_come_from_it(read, error_of):
    """A .env that cannot be read is an error unless the URL stands elsewhere."""
    denied = {"/nb/.env": PermissionError(13, "Permission denied")}
    assert read("--no-database a:b", files=denied).database is None
    assert read("--database false a:b", files=denied).database is None
    assert read("a:b", files=denied, environ={"DATABASE_URL": URL}).database is not None
    hint = "it is read for DATABASE_URL (database = false: do not)"
    assert f'file "/nb/.env": cannot be read: permission denied; {hint}' == error_of("a:b", files=denied)
