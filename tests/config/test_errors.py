"""Bad input: one line that names the place, what was found and the nearest valid name, and never a secret."""

from __future__ import annotations

import pytest

PORT = 'wants a whole number from 1 to 65535 or "auto", not'
TIME = 'wants seconds, or a text such as "40 s" or "2 min", not'
TARGET = 'is no target, write MODULE:ATTRIBUTE, FILE.py, or --module NAME (--command "…" for any program)'
DATABASE = "is no URL such as postgresql://USER:PASSWORD@HOST:5432/NAME"
NUL = "holds a NUL character, which no program can be given"
MODULE = 'wants the dotted name of a module such as "app.serve", not'
FILES = "wants a file's path, or a list of them, not"

CELLS = [
    # broken TOML
    ("app app.main", """cell, line 1: expected '=' after a key in a key/value pair: "app app.main\""""),
    (
        "gpu = true\nport = 80OO",
        'cell, line 2: expected newline or end of document after a statement: "port = 80OO"',
    ),
    ("port = 1\nport = 2", 'cell, line 2: cannot overwrite a value: "port = 2"'),
    ("a = [[", 'cell, line 1: invalid value: "a = …"'),
    ("a = " + "[" * 100_000, "cell: the tables are nested too deep"),
    ("port = " + "9" * 5000, "cell: a number has too many digits"),
    # names
    ("prot = 8000", 'cell: unknown key "prot", did you mean "port"?'),
    ("PORT = 8000", 'cell: unknown key "PORT", did you mean "port"?'),
    ("env-file = 'e'", 'cell: unknown key "env-file", did you mean "env_file"?'),
    ("working_dir = 'x'", 'cell: unknown key "working_dir", did you mean "cwd"?'),
    ("timeout = 5", 'cell: unknown key "timeout", did you mean "max_wait"?'),
    ("zzz = 1", 'cell: unknown key "zzz"; %masuka_start --help lists the keys'),
    ('"a\\nb" = 1', 'cell: unknown key "a\\nb"; %masuka_start --help lists the keys'),
    ("x" * 300 + " = 1", f'cell: unknown key "{"x" * 39}…"; %masuka_start --help lists the keys'),
    ("restart = true", 'cell: "restart" is no key but an option of the line, --restart'),
    ("wait = false", 'cell: "wait" is no key but an option of the line, --no-wait'),
    ("[databse]\nurl = 'x'", "cell: unknown table [databse], did you mean [database]?"),
    ("[healt]\npath = '/x'", "cell: unknown table [healt], did you mean [health]?"),
    ("[zzz]\na = 1", "cell: unknown table [zzz]; the tables are [env], [health], [database]"),
    ("[database]\nurll = 'x'", 'cell, [database]: unknown key "urll", did you mean "url"?'),
    ("[health]\nexpect = 1", 'cell, [health]: unknown key "expect", did you mean "json"?'),
    ("[health]\nzzz = 1", 'cell, [health]: unknown key "zzz"; known: path, status, json, timeout, owner'),
    ("[database]\nport = 5", 'cell, [database]: unknown key "port", write it above the first [table]'),
    ("[env]\nport = 5", 'cell, [env]: "port" is a key of the start, write it above the first [table]'),
    # targets
    ("app = 5", 'cell: app wants a text such as "app.main:app", not the number 5'),
    ('app = "app.main"', 'cell: app wants "module:attribute" such as "app.main:app", not "app.main"'),
    (
        'app = "s.py"',
        'cell: app wants "module:attribute" (a file is started with script = "FILE.py"), not "s.py"',
    ),
    ('app = "a/b:c"', 'cell: app wants "module:attribute" with dots; its folder is cwd, not "a/b:c"'),
    ('app.x = "y"', 'cell: app wants a text such as "app.main:app", not a table'),
    ('script = ""', 'cell: script wants a path, not ""'),
    ('module = "a b"', f'cell: module {MODULE} "a b"'),
    ('command = ""', 'cell: command wants a text such as "node server.js", not ""'),
    ('command = "a \'b"', "cell: command is no command line: no closing quotation"),
    ("app = 'a:b'\nscript = 'c.py'", 'cell: "app" and "script" are both given, keep one of them'),
    ("module = 'a'\ncommand = 'c'", 'cell: "module" and "command" are both given, keep one of them'),
    ("shell = true", "cell: shell goes with command, not with app"),
    ("script = 'a.py'\nfactory = true", "cell: factory goes with app, not with script"),
    ("module = 'a'\nserver = 'uvicorn'", "cell: server goes with app, not with module"),
    (
        "server = 'uvicron'",
        'cell: server wants "uvicorn", "hypercorn" or "gunicorn", not "uvicron", did you mean "uvicorn"?',
    ),
    ("server = 5", 'cell: server wants "uvicorn", "hypercorn" or "gunicorn", not the number 5'),
    ("args = [1]", "cell: args wants a list of texts, but holds the number 1"),
    ("args = 5", "cell: args wants a list of texts, or one text, not the number 5"),
    ('args = "a \'b"', "cell: args cannot be split into words: no closing quotation"),
    ("factory = 1", "cell: factory wants true or false, not the number 1"),
    # places
    ('python = "nopy"', 'cell: python "nopy" is not on PATH'),
    ('cwd = ""', 'cell: cwd wants a path, not ""'),
    ('cwd = "\\u0000"', f"cell: cwd {NUL}"),
    ('cwd = "~bob/x"', 'cell: cwd "~bob/x" cannot be expanded, only ~ and ~/… are known'),
    ("env = 'x'", "cell: env wants a table of names and values, not this text"),
    ("[env]\nA = [1]", "cell, [env]: A wants a text, a number or a boolean, not a list"),
    ("[env]\nA.B = 1", "cell, [env]: A wants a text, a number or a boolean, not a table"),
    ("[env]\nA = 1979-01-01", "cell, [env]: A wants a text, a number or a boolean, not a date"),
    ("[env]\nA = nan", "cell, [env]: A is no number that a text can hold"),
    ('[env]\nA = "\\u0000"', f"cell, [env]: A {NUL}"),
    ('[env]\n"A=B" = 1', 'cell, [env]: "A=B" is no name that the environment can hold'),
    ('env_file = "nope"', 'cell: env_file "/nb/nope": there is no such file'),
    ("env_file = 5", f"cell: env_file {FILES} the number 5"),
    ("env_file = [5]", f"cell: env_file {FILES} a list"),
    ('host = "http://x"', 'cell: host wants an address to bind such as "127.0.0.1", not "http://x"'),
    ('port = "8000"', f'cell: port {PORT} "8000"'),
    ("port = 0", f"cell: port {PORT} the number 0"),
    ("port = 65536", f"cell: port {PORT} the number 65536"),
    ("port = true", f"cell: port {PORT} true"),
    ("port = 0x" + "f" * 5000, f"cell: port {PORT} so large a number"),
    ('name = "a b"', 'cell: name wants up to 64 letters, digits, dots, dashes and underscores, not "a b"'),
    # readiness and limits
    ('health = "up"', 'cell: health wants a path such as "/health", not "up"'),
    ("health = 5", 'cell: health wants a path such as "/health", not the number 5'),
    ('[health]\npath = "up"', 'cell, [health]: path wants a path such as "/health", not "up"'),
    ('[health]\nstatus = "200"', 'cell, [health]: status wants a whole number from 100 to 599, not "200"'),
    (
        "[health]\nstatus = 99",
        "cell, [health]: status wants a whole number from 100 to 599, not the number 99",
    ),
    ("[health]\ntimeout = 0", "cell, [health]: timeout wants more than 0 to 600 seconds, not the number 0"),
    ('[health]\njson = "x"', 'cell, [health]: json wants a table, not "x"'),
    ("[health]\njson = {a = 1979-01-01}", "cell, [health]: json holds a date, which no JSON can hold"),
    (
        '[health]\nowner = "our"',
        'cell, [health]: owner wants "ours" or "any", not "our", did you mean "ours"?',
    ),
    ('gpu = "yes"', 'cell: gpu wants true or false, not "yes"'),
    ('stall = "40"', f'cell: stall {TIME} "40"'),
    ("stall = 0", "cell: stall wants more than 0 to 86400 seconds, not the number 0"),
    ("stall = nan", f"cell: stall {TIME} the number nan"),
    ("max_wait = true", f"cell: max_wait {TIME} true"),
    ('on_stall = "kill"', 'cell: on_stall wants "keep" or "stop", not "kill"'),
    ("liveness = -1", "cell: liveness wants 0 to 86400 seconds, not the number -1"),
    ('orphan_grace = "x"', 'cell: orphan_grace wants minutes, a text such as "10 min", or "never", not "x"'),
    ("orphan_grace = -1", 'cell: orphan_grace wants 0 to 525600 minutes, or "never", not the number -1'),
    ('max_log = "1 XB"', 'cell: max_log wants a number of bytes, or a text such as "500 MB", not "1 XB"'),
    ("max_log = 5", "cell: max_log wants from 100 kB to 1000 TB, not the number 5"),
    # the database
    ("database = true", "cell: database wants a URL, or false for none, not true"),
    ("[database]", "cell, [database]: url is missing"),
    ("[database]\nurl = false", "cell, [database]: url wants a URL (database = false is for none)"),
    ("[database]\nurl = 5", "cell, [database]: url wants a URL, or false for none, not the number 5"),
    ("[database]\nurl = 'nope'", f"cell, [database]: url {DATABASE}"),
    ("database = 'nope'", f"cell: database {DATABASE}"),
    # names that are filled in
    ("[env]\nA = '$NOPE'", "cell, [env]: A needs $NOPE, which is set nowhere"),
    ("[env]\nA = '$HOM'", "cell, [env]: A needs $HOM, which is set nowhere, did you mean $HOME?"),
    ("[env]\nA = '$TOKN'", "cell, [env]: A needs $TOKN, which is set nowhere, did you mean $TOKEN?"),
    ("[env]\nA = '${HOME'", "cell, [env]: A holds ${HOME, write ${NAME}, or $$ for a dollar sign"),
    ("[env]\nA = '${B:-c}'", "cell, [env]: A holds ${B:-c}, write ${NAME}, or $$ for a dollar sign"),
    ("args = ['$X1']", "cell: args needs $X1, which is set nowhere"),
    ("database = 'x://$X1'", "cell: database needs $X1, which is set nowhere"),
    ("[env]\nA = '$ZERO'", "cell, [env]: A would hold a NUL character, which no program can be given"),
]


@pytest.mark.parametrize(
    ("cell", "expected"), CELLS, ids=[f"{at}-{cell[:30]}" for at, (cell, _) in enumerate(CELLS)]
)
def test_a_bad_cell_is_one_clear_line(error_of, cell, expected):
    """The place, what is wanted, what was found, the nearest valid name."""
    namespace = {"TOKEN": "x", "LIST": [1], "ZERO": "\0"}
    assert expected == error_of("", cell, namespace=namespace)


LINES = [
    ("serve", f'line: "serve" {TARGET}'),
    ("-", f'line: "-" {TARGET}'),
    ("port=8001", 'line: "port" is an option, write --port 8001'),
    ("--prot 1", "line: unknown option --prot, did you mean --port?"),
    ("--envfile e", "line: unknown option --envfile, did you mean --env-file?"),
    ("--env_file e", "line: unknown option --env_file, did you mean --env-file?"),
    ("--restrat", "line: unknown option --restrat, did you mean --restart?"),
    ("--no-weit", "line: unknown option --no-weit, did you mean --no-wait?"),
    ("--no-datbase", "line: unknown option --no-datbase, did you mean --no-database?"),
    ("--zzzz", "line: unknown option --zzzz; %masuka_start --help lists them"),
    ("-p 5", "line: unknown option -p; %masuka_start --help lists them"),
    ("--port", "line: --port wants a value, PORT"),
    ("--port --gpu", "line: --port wants a value, PORT"),
    ("--port abc", f'line: --port {PORT} "abc"'),
    ("--port=", f'line: --port {PORT} ""'),
    ("--port 8000.5", f'line: --port {PORT} "8000.5"'),
    ("--gpu=maybe", 'line: --gpu wants true or false, not "maybe"'),
    ("--quiet=1", "line: --quiet takes no value"),
    ("--no-gpu=1", "line: --no-gpu takes no value"),
    ("--stall soon", f'line: --stall {TIME} "soon"'),
    ("--health up", 'line: --health wants a path such as "/health", not "up"'),
    ("--health-status 20x", 'line: --health-status wants a whole number from 100 to 599, not "20x"'),
    ("--health-json {", """line: --health-json wants JSON such as '{"status": "ok"}'"""),
    ("--health-json 5", "line: --health-json wants a table, not the number 5"),
    ("--database true", "line: --database wants a URL, or false for none, not true"),
    ("--database nope", f"line: --database {DATABASE}"),
    ("--database=", "line: --database wants a URL, or false for none, not this text"),
    ("--env hf_0123456789abcdefghij", "line: --env wants NAME=VALUE"),
    ("--env =x", 'line: "" is no name that the environment can hold'),
    ("--env A=$NOPE", "line: --env A needs $NOPE, which is set nowhere"),
    ("--env-file nope a:b", 'line: --env-file "/nb/nope": there is no such file'),
    ("--env-file e a:b", 'line: --env-file "/nb/e": line 2 is not NAME=VALUE'),
    ("--env-file u a:b", 'line: --env-file "/nb/u": it is not UTF-8 (byte 0xff at 0)'),
    ("--app a", 'line: --app wants "module:attribute" such as "app.main:app", not "a"'),
    ("--shell", "line: --shell goes with command, not with app"),
    ("a:b c:d", 'line: "a:b" and "c:d" are both given, keep one of them'),
    ("a:b c.py", 'line: "a:b" and "c.py" are both given, keep one of them'),
    ("a:b --script c.py", 'line: "a:b" and --script are both given, keep one of them'),
    ("--script a.py --module x", "line: --script and --module are both given, keep one of them"),
    ("--restart --reuse", "line: --restart and --reuse are both given, keep one of them"),
    ("a:b 'open", "line: a quotation is not closed"),
    ("a:b \\", "line: a backslash at the end escapes nothing"),
    ("a:b --help", "line: --help shows the options and starts nothing"),
]


@pytest.mark.parametrize(("line", "expected"), LINES, ids=[line for line, _ in LINES])
def test_a_bad_line_is_one_clear_line(error_of, line, expected):
    """The option at fault, what it wants, the nearest valid option; no usage text and no exit."""
    files = {
        "/nb/e": "A=1\nB C\n",
        "/nb/u": UnicodeDecodeError("utf-8", b"\xff\xfe", 0, 1, "invalid start byte"),
    }
    assert expected == error_of(line, files=files)


STARTS = [
    ({"prot": 1}, 'start(): unknown key "prot", did you mean "port"?'),
    ({"wait": 1}, "start(): wait wants True or False, not the number 1"),
    ({"restart": True, "reuse": True}, 'start(): "restart" and "reuse" are both given, keep one of them'),
    ({"env": {1: "a"}}, "start(), [env]: a name has to be a text, not the number 1"),
    ({"env": {"A": object()}}, "start(), [env]: A wants a text, a number or a boolean, not an object"),
    ({"env": {"A": "\ud800"}}, "start(), [env]: A holds half a character (a lone surrogate)"),
    ({"env": {"A": 10**400}}, "start(), [env]: A is no number that a text can hold"),
    ({"database": {"url": None}}, "start(), [database]: url is missing"),
    (
        {"health": {1: 2}},
        'start(), [health]: unknown key "the number 1"; known: path, status, json, timeout, owner',
    ),
    ({"health": {"json": {"a": {1}}}}, "start(), [health]: json holds a set, which no JSON can hold"),
    (
        {"health": {"json": {"a": float("nan")}}},
        "start(), [health]: json holds the number nan, which no JSON can hold",
    ),
    ({"app": "a:b", "script": "c.py"}, 'start(): "app" and "script" are both given, keep one of them'),
    ({"stall": 10**400}, f"start(): stall {TIME} so large a number"),
]


@pytest.mark.parametrize(("start", "expected"), STARTS)
def test_a_bad_argument_of_python_is_one_clear_line(error_of, start, expected):
    """The arguments of start() are checked like the cell's keys."""
    assert expected == error_of(start=start)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("port = 1\nx y", """masuka.toml, line 2: expected '=' after a key in a key/value pair: "x y\""""),
        ("prot = 1", 'masuka.toml: unknown key "prot", did you mean "port"?'),
        (PermissionError(13, "Permission denied"), "masuka.toml: cannot be read: permission denied"),
        (OSError("it is no regular file"), "masuka.toml: cannot be read: it is no regular file"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, ""), "masuka.toml: it is not UTF-8 (byte 0xff at 0)"),
    ],
)
def test_a_bad_file_is_one_clear_line(error_of, content, expected):
    """masuka.toml is named, and its line."""
    assert expected == error_of("a:b", files={"/nb/masuka.toml": content})


def test_a_setting_of_the_file_is_blamed_on_the_file(error_of):
    """After merging an error still names the layer that the value came from."""
    files = {"/nb/masuka.toml": "[env]\nA = '$NOPE'"}
    assert "masuka.toml, [env]: A needs $NOPE, which is set nowhere" == error_of(
        "a:b", "port = 1", files=files
    )


def test_without_a_home_a_tilde_means_nothing(error_of):
    """~ is the environment's HOME, and nothing is guessed."""
    assert 'cell: cwd "~/x" cannot be expanded, HOME is not set' == error_of("", 'cwd = "~/x"', environ={})


S = "hunter2-hunter2"


@pytest.mark.parametrize(
    ("line", "cell"),
    [
        ("", f'DB_PASSWORD = "{S}'),
        ("", f'[env]\nPLAIN = "{S}'),
        ("", f'[database]\nurl = "postgresql://u:{S}@h'),
        ("", f'args = ["--token", "{S}'),
        ("", f'args = [\n"--token", "{S}",\n= '),
        ("", f'cwd = """\n{S} \\q"""'),
        ("", f'[database]\nurl = "{S}"'),
        ("", f'[database]\nurl = ["{S}"]'),
        ("", f'database = ["{S}"]'),
        ("", f'env = "{S}"'),
        ("", f'health = "http://u:{S}@h/"'),
        ("", f'args = "\'{S}"'),
        ("", f'command = "x --password={S} \'"'),
        ("--env " + S, None),
        ("--database " + S, None),
        (f"--database postgresql://u:{S}@h/d --port x", None),
        (f"--env TOKEN={S} --port x", None),
    ],
)
def test_an_error_holds_no_secret(error_of, line, cell):
    """What may be a secret is not quoted."""
    assert "hunter2" not in error_of(line, cell)
