"""What a module would define when it is imported, read from its syntax tree. Pure: no file, no import.

It can only be said where nothing defines names behind the reader's back; `unsure` says that something may.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

#: What makes an application when it is called: the last part of the name.
APPLICATIONS = frozenset(
    {"APIFlask", "ASGIApp", "Application", "Bottle", "Dash", "FastAPI", "Flask", "Litestar", "Quart", "Robyn"}
    | {"Sanic", "Starlette", "WSGIApp", "get_asgi_application", "get_wsgi_application"}
)
#: Code that defines names without naming them.
_MAGIC_CALLS = frozenset({"exec", "globals", "locals", "vars"})


@dataclass(frozen=True, slots=True)
class Definitions:
    """What a module defines when it is imported.

    `names`: name and what it is bound to, None where that is not one plain expression or definition.
    `only_as_main`: bound under `if __name__ == "__main__"` alone. `applications`: name and a shortened
    `FastAPI(…)`, in the file's order; `factories`: functions that return one. `unsure`: there may be more.
    """

    names: Mapping[str, ast.AST | None]
    only_as_main: frozenset[str]
    applications: Mapping[str, str]
    factories: tuple[str, ...]
    unsure: bool


def definitions(tree: ast.Module) -> Definitions:
    """Read what importing a module would define, on whatever branch."""
    names: dict[str, ast.AST | None] = {}
    bound = list(_bound(tree.body))
    for name, value in bound:
        names[name] = None if name in names else value
    as_main = {name for node in tree.body if _is_main_guard(node) for name, _ in _bound(_body(node))}
    aliases = _aliases(tree)
    calls = ((name, _application(value, aliases)) for name, value in bound)
    return Definitions(
        names,
        frozenset(as_main - names.keys()),
        {name: call for name, call in calls if call is not None},
        tuple(name for name, value in names.items() if _makes_application(value, aliases)),
        "__getattr__" in names or any(_hides_names(node) for node in ast.walk(tree)),
    )


def _bound(body: list[ast.stmt]) -> Iterator[tuple[str, ast.AST | None]]:
    for node in body:
        if not _is_main_guard(node):
            yield from _bound_by(node)
        elif isinstance(node, ast.If):
            yield from _bound(node.orelse)
    for function in ast.walk(ast.Module(body, [])):
        if isinstance(function, ast.Global):
            yield from ((name, None) for name in function.names)


def _bound_by(node: ast.AST) -> Iterator[tuple[str, ast.AST | None]]:
    """Yield what a statement binds in the module's own scope: functions and classes are not entered."""
    plain = _plain(node)
    yield from plain
    if isinstance(node, ast.Lambda) or (plain and not isinstance(node, ast.Assign | ast.AnnAssign)):
        return
    if isinstance(node, ast.AnnAssign) and node.value is None:
        return  # `app: FastAPI` alone binds nothing.
    for field in ("name", "rest"):  # `except … as name`, `case [*name]`, `case {**rest}`
        if isinstance(name := getattr(node, field, None), str):
            yield name, None
    done = {name for name, _ in plain}
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            yield from () if child.id in done else [(child.id, None)]
        else:
            yield from _bound_by(child)


def _plain(node: ast.AST) -> list[tuple[str, ast.AST | None]]:
    """Return what a definition, an import or `a = b = …` binds, each to one thing that can be looked at."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [(node.name, node)]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name.partition(".")[0], node) for alias in node.names]
    if isinstance(node, ast.Assign):
        return [(target.id, node.value) for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        return [(node.target.id, node.value)]
    return []


def _is_main_guard(node: ast.AST) -> bool:
    if not isinstance(node, ast.If) or not isinstance(node.test, ast.Compare):
        return False
    sides = {ast.unparse(node.test.left), *map(ast.unparse, node.test.comparators)}
    return sides == {"__name__", "'__main__'"} and isinstance(node.test.ops[0], ast.Eq)


def _body(node: ast.AST) -> list[ast.stmt]:
    return node.body if isinstance(node, ast.If) else []


def _hides_names(node: ast.AST) -> bool:
    """Say whether a node may define or replace names of the module without naming them."""
    if isinstance(node, ast.ImportFrom):
        return any(alias.name == "*" for alias in node.names)
    if isinstance(node, ast.Attribute):
        return node.attr == "__dict__" or (node.attr == "modules" and _last(node.value) == "sys")
    if isinstance(node, ast.Call):
        called = _last(node.func)
        if called in {"import_module", "__import__"}:
            return any(_last(argument) == "__name__" for argument in node.args)
        return isinstance(node.func, ast.Name) and called in _MAGIC_CALLS
    return False


def _last(node: ast.AST) -> str:
    """Return the last part of a name, "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _aliases(tree: ast.Module) -> dict[str, str]:
    """Return the names under which `from … import … as` brings something in, and what that is called there."""
    return {
        alias.asname: alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }


def _application(node: ast.AST | None, aliases: Mapping[str, str]) -> str | None:
    """Write the call that makes an application, its arguments left out; None for anything else."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name | ast.Attribute):
        return None
    called = ast.unparse(node.func)
    last = called.rpartition(".")[2]
    if aliases.get(last, last) not in APPLICATIONS:
        return None
    return f"{called}({'…' if node.args or node.keywords else ''})"


def _makes_application(node: ast.AST | None, aliases: Mapping[str, str]) -> bool:
    """Say whether a function returns an application that it has made, or says so in its annotation."""
    if not isinstance(node, ast.FunctionDef):
        return False
    if node.returns is not None and ast.unparse(node.returns).strip("'\"").rpartition(".")[2] in APPLICATIONS:
        return True
    made = {name for name, value in _bound(node.body) if _application(value, aliases)}
    returned = [one.value for one in ast.walk(node) if isinstance(one, ast.Return)]
    return any(
        _application(value, aliases) is not None or (isinstance(value, ast.Name) and value.id in made)
        for value in returned
    )
