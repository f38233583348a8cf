from __future__ import annotations

import time

import pytest

from masuka_magic.redact import MASK, Redactor, is_secret_name, is_worth_masking, url_passwords

SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"a {SECRET} b {SECRET}", "a ••• b •••"),
        (f"x{SECRET}y", "x•••y"),
        ("nothing here", "nothing here"),
        ("", ""),
        ("p%40ss%2Fword and p@ss/word", "••• and •••"),
        ('{"k": "with \\"quote\\""}', '{"k": "•••"}'),
        ("abcdefgh", "•••"),
        ("line-one-of-a-key line-two-of-a-key short", "••• ••• short"),
        ("true 8000", "true 8000"),
    ],
)
def test_known_values_are_masked_wherever_they_stand(text, expected):
    """Encoded, escaped, overlapping and line by line too; short and common values are left."""
    key = "line-one-of-a-key\nline-two-of-a-key\nshort\n"
    secrets = [SECRET, "p@ss/word", 'with "quote"', "abcdef", "cdefgh", key, "true", "8000", "abc", ""]
    assert expected == Redactor(secrets).text(text)


SHAPES = [
    ("postgresql://masuka:pw@localhost/x", "postgresql://masuka:•••@localhost/x"),
    ("redis://:pw@h:1", "redis://:•••@h:1"),
    ("x://u:p@ss@h/d", "x://u:•••@h/d"),
    ("http://127.0.0.1:8000/health?a=b@c", "http://127.0.0.1:8000/health?a=b@c"),
    ("http://user@host/", "http://user@host/"),
    ("hf_" + "a1B2" * 8, MASK),
    ("hf_hub_download", "hf_hub_download"),
    ("key sk-proj-" + "a1-_" * 10 + ".", "key •••."),
    ("disk-usage-of-the-machine-is-high", "disk-usage-of-the-machine-is-high"),
    ("ghp_" + "a" * 36, MASK),
    ("gho_" + "a" * 36, MASK),
    ("github_pat_" + "a_1" * 10, MASK),
    ("glpat-" + "a" * 20, MASK),
    ("xoxb-123456789012-abc", MASK),
    ("AIza" + "a" * 35, MASK),
    ("AKIA" + "A" * 16, MASK),
    ("AKIAABC", "AKIAABC"),
    ("Authorization: Bearer abc.def-123", "Authorization: Bearer •••"),
    ("authorization: basic dXNlcjpwdw==1", "authorization: basic •••"),
    ("Bearer authentication failed", "Bearer authentication failed"),
    ("password=abc def", "password=••• def"),
    ("PGPASSWORD=abc psql", "PGPASSWORD=••• psql"),
    ("DB_PASSWORD = 'a b' # c", "DB_PASSWORD = '•••' # c"),
    ('{"token": "abc", "n": 1}', '{"token": "•••", "n": 1}'),
    ("{'api_key': 'abc'}", "{'api_key': '•••'}"),
    ("?token=abc&x=1", "?token=•••&x=1"),
    ("--api-key=abc --x", "--api-key=••• --x"),
    ('"{\\"secret\\": \\"abc\\"}"', '"{\\"secret\\": \\"•••\\"}"'),
    ('password="not closed', 'password="•••'),
    ("password=", "password="),
    ("password=''", "password=''"),
    ("token=None, password=True", "token=None, password=True"),
    ('password=os.environ["DB"]', 'password=os.environ["DB"]'),
    ("token: Optional[str] = None", "token: Optional[str] = None"),
    ("if token == other:", "if token == other:"),
    ("max_tokens=4096", "max_tokens=4096"),
    ("unexpected token: }", "unexpected token: }"),
    ("eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJ-_ x", "••• x"),
    ("eyJhbGciOiJI.x", "eyJhbGciOiJI.x"),
    ("-----BEGIN RSA PRIVATE KEY-----\nabc\ndef\n-----END RSA PRIVATE KEY-----\nx",
     "-----BEGIN RSA PRIVATE KEY-----•••\n\n\n\nx"),
    ("-----BEGIN PRIVATE KEY-----\n" + "aB1+" * 16 + "\n" + "aB1+" * 16 + "\ncut",
    "-----BEGIN PRIVATE KEY-----•••\n\n\ncut"),
    ('INFO: 127.0.0.1:5 - "GET /health HTTP/1.1" 200 OK', 'INFO: 127.0.0.1:5 - "GET /health HTTP/1.1" 200 OK'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), SHAPES, ids=[str(number) for number in range(len(SHAPES))])
def test_the_shapes_of_secrets_are_masked(text, expected):
    """What looks like a secret is masked without being known; what only resembles one is shown."""
    assert expected == Redactor().text(text)


@pytest.mark.parametrize(
    "text", [text for text, _ in SHAPES], ids=[str(number) for number in range(len(SHAPES))]
)
def test_masking_twice_changes_nothing(text):
    """A masked text has nothing left to mask."""
    once = Redactor([SECRET]).text(text)
    assert once == Redactor([SECRET]).text(once)


def test_names_may_be_kept():
    """In a stored configuration $NAME says where a secret comes from."""
    text = "x://u:$PW@h password=${PW} token=a$PW x://u:lit@h"
    assert "x://u:$PW@h password=${PW} token=••• x://u:•••@h" == Redactor(keep_names=True).text(text)
    assert "$PW" not in Redactor().text("x://u:$PW@h")


def test_line_breaks_stay():
    """A text has as many lines as before: line numbers of a log stay true."""
    text = f"a\n{SECRET}\npassword='x\ny'\n-----BEGIN PRIVATE KEY-----\nq\n-----END PRIVATE KEY-----\n"
    assert text.count("\n") == Redactor([SECRET]).text(text).count("\n")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("HF_TOKEN", True), ("DB_PASSWORD", True), ("PGPASSWORD", True), ("SECRET_KEY", True), ("apiKey", True),
        ("OPENAI_APIKEY", True), ("AWS_ACCESS_KEY_ID", True), ("GOOGLE_APPLICATION_CREDENTIALS", True),
        ("MY-PASSWD", True),
        ("hfToken", True), ("SENTRY_DSN", True), ("PWD", False), ("OLDPWD", False), ("TOKENIZERS_PARALLELISM", False),
        ("MAX_TOKENS", False), ("KEYBOARD", False), ("MONKEY", False), ("DATABASE_URL", False), ("PATH",
        False), ("", False),
    ],
)  # fmt: skip
def test_which_names_are_a_secrets(name, expected):
    """By the words of the name, not by a part of a word."""
    assert expected == is_secret_name(name)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("abc", False), ("    a ", False), ("true", False), ("None", False), ("localhost", False), ("8000", False),
     ("99999", False), ("123456", True), ("abcd", True)],
)  # fmt: skip
def test_which_values_are_worth_masking(value, expected):
    """Neither short nor common ones, nor what may be a port."""
    assert expected == is_worth_masking(value)


def test_passwords_of_urls():
    """As they stand and decoded, wherever they stand in a text."""
    assert {"p%40ss", "p@ss", "q"} == url_passwords("a x://u:p%40ss@h b y://:q@h")
    assert frozenset() == url_passwords("http://h:80/@ plain")


HOSTILE = [
    "a", "://a", "://:", "://a:b", "://u:p@", "=", "token=", 'password="', "password='password=\"",
    "eyJaaaaaaaa.", "-eyJ",
    "eyJaaaaaaaaa", "sk-", "hf_", "hf_a", "bearer ", "Bearer    ", "Bearer a.", "authorization: basic ", "-----BEGIN ",
    "-----BEGIN PRIVATE KEY-----", 'token"', "token   ", 'password=\\"', "password='\\", "api_key", "AKIA",
    "ghp_", "\\",
]  # fmt: skip


def seconds(redactor: Redactor, text: str) -> float:
    begin = time.process_time()
    redactor.text(text)
    return time.process_time() - begin


@pytest.mark.parametrize("unit", HOSTILE)
def test_a_hostile_line_takes_linear_time(unit):
    """Sixteen times the text takes no more than about sixteen times as long (a square would be 256 times)."""
    redactor = Redactor([SECRET])
    short = (unit * 50_000)[:50_000]
    once = min(seconds(redactor, short) for _ in range(3))
    assert seconds(redactor, short * 16) < 64 * once + 0.05


def test_a_line_of_10_mb_is_masked():
    """A foreign program may write such a line; it takes seconds, not hours, and its secret is found."""
    text = 'password="' * 500_000 + SECRET + "x://u:pw@h " * 450_000
    begin = time.process_time()
    masked = Redactor([SECRET]).text(text)
    assert time.process_time() - begin < 30
    assert SECRET not in masked
    assert ":pw@" not in masked


def test_200_lines_are_quick():
    """What a panel shows is masked in a few milliseconds."""
    text = 'INFO: 127.0.0.1:5 - "GET /items?token=abc HTTP/1.1" 200 OK postgresql://u:pw@h/d\n' * 200
    redactor = Redactor([SECRET])
    assert min(seconds(redactor, text) for _ in range(5)) < 0.05
