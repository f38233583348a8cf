"""Read an application `module:attribute`: where its module is, whether it parses, what it defines."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from masuka_magic.diagnosis.findings import Finding, Remedy
from masuka_magic.preflight.definitions import definitions
from masuka_magic.preflight.following import Module, follow
from masuka_magic.preflight.look import Look, Verdict, cell
from masuka_magic.preflight.misplaced import misplaced
from masuka_magic.preflight.neighbours import set_from_outside, similar
from masuka_magic.preflight.search import Missing, Place
from masuka_magic.preflight.source import Source, read_source

_MOST_OFFERED = 3
#: What applications are called, where what makes them is not known here.
_USUAL = {"app", "application", "api", "asgi", "asgi_app", "server"}


def application(look: Look) -> Verdict:
    """Look at the target of an `app`."""
    module, _, attribute = look.config.target.value.partition(":")
    attribute = attribute or "app"
    place = look.search.find(module)
    if isinstance(place, Missing):
        failed = misplaced(look, module, attribute, place)
        return Verdict(f"{module} was not found by reading", () if failed is None else (failed,))
    file = place.file
    top = module.partition(".")[0]
    if file is None or file.suffix != ".py" or not look.is_own(file):
        return Verdict(f"{module} is at {file.parent}" if file else f"{module} found", top=top)
    return _read(look, module, attribute, place, file)


def _read(look: Look, name: str, attribute: str, place: Place, file: Path) -> Verdict:
    shown, top = look.shown(file), name.partition(".")[0]
    fault = next((one for path in _above(look, name, file) if (one := look.fault(path)) is not None), None)
    source = read_source(file)
    if fault is not None or source is None or source.tree is None:
        read = () if source is None else (source,)
        return Verdict(f"{shown} found", () if fault is None else (fault,), (), read, top)
    module = Module(name, place, source, shown, definitions(source.tree))
    followed = list(follow(look, module))
    failed = [one for one in followed if isinstance(one, Finding)]
    warned: list[Finding] = []
    first = attribute.partition(".")[0].partition("(")[0]
    for finding, certain in _attribute(look, module, first):
        (failed if certain else warned).append(finding)
    text = f"{shown} defines {first}" if first in module.known.names else f"{shown} found"
    sources = (source, *(one for one in followed if isinstance(one, Source)))
    return Verdict(text, tuple(failed[:1]), tuple(warned), sources, top)


def _above(look: Look, module: str, file: Path) -> Iterator[Path]:
    """Yield the files that importing the module runs first: its packages', then its own."""
    parts = module.split(".")
    for count in range(1, len(parts)):
        place = look.search.find(".".join(parts[:count]))
        if isinstance(place, Place) and place.file is not None and look.is_own(place.file):
            yield place.file
    yield file


def _attribute(look: Look, module: Module, name: str) -> Iterator[tuple[Finding, bool]]:
    """Yield what is wrong with the attribute, and whether it is certain."""
    known, shown = module.known, module.shown
    if name in known.names:
        yield from _shape(look, module, name)
        return
    # A package's attribute may also be its module of that name, once somebody imports it.
    places = [folder / name for folder in module.place.folders]
    inside = any(path.is_dir() or path.with_name(f"{name}.py").is_file() for path in places)
    if known.unsure or inside or name.startswith("__") or not name.isidentifier():
        return
    if set_from_outside(name, look.cwd, module.source.path):
        return
    notes: tuple[str, ...] = ()
    if name in known.only_as_main:
        notes = ('it is defined under `if __name__ == "__main__"`, which an import does not run',)
    offered = dict(list(known.applications.items())[:_MOST_OFFERED])
    title = f"`{name}` is not defined in {shown}"
    if offered:
        title += "; it defines " + " and ".join(f"`{other} = {call}`" for other, call in offered.items())
    elif known.factories:
        title += f"; its function `{known.factories[0]}` returns an application"
    fixes = _instead(module, name)
    # Where the file has nothing like it, something else may end the import first: the start will know.
    certain = bool(fixes or notes)
    fixes = fixes or (
        Remedy(f"define it there, or name in `app` what {module.name} does define", kind="edit"),
    )
    yield Finding("asgi-attribute", title, f"{module.name}:{name}", (), notes, fixes), certain


def _instead(module: Module, name: str) -> tuple[Remedy, ...]:
    """Offer the applications and factories that the file has, else a name that is like the one wanted."""
    known, said = module.known, "name what it defines"
    fixes = [Remedy(said, _named(module, other), "cell", safe=True) for other in known.applications]
    fixes += [
        Remedy(f"let {other} make it", _made_by(module, other), "cell", safe=True)
        for other in known.factories
    ]
    if not fixes:
        close = [*sorted(_USUAL & known.names.keys()), *similar(name, list(known.names))]
        fixes = [Remedy(said, _named(module, other), "cell", confidence=0.5) for other in close[:1]]
    return tuple(fixes[:_MOST_OFFERED])


def _named(module: Module, attribute: str) -> str:
    return cell("app", f"{module.name}:{attribute}")


def _made_by(module: Module, factory: str) -> str:
    return f"{_named(module, factory)}\nfactory = true"


def _shape(look: Look, module: Module, name: str) -> Iterator[tuple[Finding, bool]]:
    """Compare what the attribute is with `factory`."""
    known, shown = module.known, module.shown
    value, culprit = known.names[name], f"{module.name}:{name}"
    if look.config.factory and name in known.applications and value is not None:
        title = f"`{name}` in {shown} is an application, `{known.applications[name]}`, and no factory"
        leave = Remedy("leave factory out", _named(module, name), "cell", safe=True)
        other = [Remedy("or name the factory", _made_by(module, one), "cell") for one in known.factories[:1]]
        certain = known.applications[name].partition("(")[0].rpartition(".")[2] in {"FastAPI", "Starlette"}
        yield Finding("asgi-attribute", title, culprit, (), (), (leave, *other)), certain
    elif not look.config.factory and name in known.factories and _is_plain_function(value):
        title = f"`{name}` in {shown} is a function that returns an application"
        fix = Remedy("call it", _made_by(module, name), "cell", safe=True)
        yield Finding("asgi-attribute", title, culprit, (), (), (fix,)), False


def _is_plain_function(node: ast.AST | None) -> bool:
    """Say whether a name is the function that stands there: a decorator may have made anything of it."""
    return isinstance(node, ast.FunctionDef) and not node.decorator_list
