"""The layers and sizes that keep the package readable; read from the source, nothing is run."""

import ast
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "greensock"
SOURCES = sorted(
    path
    for folder in ("greensock", "loadtests", "tests")
    for path in ROOT.joinpath(folder).rglob("*.py")
)

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
#: Of a folder of the package, beside its __init__.py.
MAX_MODULES = 9
MAX_MODULES_OF = {"greensock.torture": 11}

#: From the bottom to the top; a module imports from its own layer or from lower ones.
LAYERS = (
    "arguments",
    "text and numbers",
    "hub",
    "signals",
    "workers",
    "noted",
    "lot",
    "files",
    "sockets",
    "net",
    "settings",
    "handlers",
    "turns",
    "admission",
    "serving",
    "tls",
    "servers",
    "mixins",
    "in place of socketserver",
    "public names",
    "processes",
    "programs on them",
    "loadtest",
    "compare's scenarios",
    "what is compared",
    "servers under test",
    "idle clients",
    "trials",
    "results",
    "reports",
    "compare",
    "cli",
)
#: The layer of a folder, or of a module that is not in its folder's.
LAYER_OF = {
    # What is wrong with an argument is said where the argument is understood, often far below.
    "greensock.arguments": "arguments",
    "greensock.printable": "text and numbers",
    "greensock.stats": "text and numbers",
    "greensock.hub": "hub",
    "greensock.hub.signals": "signals",
    "greensock.hub.workers": "workers",
    "greensock.noted": "noted",
    "greensock.lot": "lot",
    "greensock.files": "files",
    "greensock.sockets": "sockets",
    "greensock.net": "net",
    "greensock.settings": "settings",
    "greensock.handlers": "handlers",
    "greensock.turns": "turns",
    "greensock.tls": "tls",
    "greensock.admission": "admission",
    "greensock.serving": "serving",
    "greensock.servers": "servers",
    "greensock.mixins": "mixins",
    "greensock": "public names",
    "greensock.examples": "programs on them",
    "greensock.patch": "in place of socketserver",
    "greensock.testing": "programs on them",
    "greensock.control": "programs on them",
    "greensock.metrics": "programs on them",
    "greensock.processes": "processes",
    "greensock.torture": "programs on them",
    "greensock.loadtest": "loadtest",
    "greensock.compare": "compare",
    "greensock.compare.scenarios": "compare's scenarios",
    "greensock.compare.planning": "what is compared",
    "greensock.compare.under_test": "servers under test",
    "greensock.compare.idle": "idle clients",
    "greensock.compare.trials": "trials",
    "greensock.compare.results": "results",
    "greensock.compare.reports": "reports",
    "greensock.cli": "cli",
    "greensock.__main__": "cli",
}

#: What of gevent only hub/ may name; the public, high-level rest is anybody's.
HUB_NAMES = {"Hub", "core", "get_hub", "get_hub_if_exists", "hub", "libev", "libuv", "set_hub"}
#: Where locustfiles and what only they import live: they run in locust's process.
LOCUST_FOLDERS = ("greensock.loadtest", "greensock.compare.scenarios")
#: Names that say nothing of what is in a module.
EMPTY_NAMES = {"common", "helpers", "misc", "tools", "util", "utils"}


@dataclass(frozen=True)
class Import:
    """`importer` names `target`, a module or something in it; `only_types`: not at run time."""

    importer: str
    target: str
    line: int
    only_types: bool = False


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def modules() -> dict[str, Path]:
    return {module_name(path): path for path in SOURCES if path.is_relative_to(PACKAGE)}


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports_below(node: ast.AST, importer: str, only_types: bool = False) -> Iterator[Import]:
    """All imports under `node`, those in functions included."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for name in child.names:
                yield Import(importer, name.name, child.lineno, only_types)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{importer}:{child.lineno}: a relative import"
            for name in child.names:
                yield Import(importer, f"{child.module}.{name.name}", child.lineno, only_types)
        else:
            yield from imports_below(child, importer, only_types or is_for_types(child))


@cache
def all_imports() -> tuple[Import, ...]:
    return tuple(
        found for name, path in modules().items() for found in imports_below(parsed(path), name)
    )


def own_module(target: str) -> str | None:
    """The module of greensock that an import's target is or is in, or None for others."""
    while target.startswith("greensock"):
        if target in modules():
            return target
        target = target.rpartition(".")[0]
    return None


def is_in(module: str, *folders: str) -> bool:
    return any(module == folder or module.startswith(f"{folder}.") for folder in folders)


def layer(module: str) -> int:
    name = module
    while name not in LAYER_OF:
        name = name.rpartition(".")[0]
    assert name != "greensock" or module == "greensock", f"{module} is in no folder"
    return LAYERS.index(LAYER_OF[name])


def cycle_in(graph: dict[str, set[str]]) -> list[str] | None:
    """A path that leads back to where it began, if there is one."""
    finished: set[str] = set()

    def follow(node: str, path: list[str]) -> list[str] | None:
        if node in path:
            return [*path[path.index(node) :], node]
        if node not in finished:
            for successor in sorted(graph.get(node, ())):
                if found := follow(successor, [*path, node]):
                    return found
            finished.add(node)
        return None

    return next(filter(None, (follow(node, []) for node in sorted(graph))), None)


def graph_of(imports: Iterator[Import]) -> dict[str, set[str]]:
    graph: dict[str, set[str]] = {}
    for each in imports:
        target = own_module(each.target)
        if target is not None and target != each.importer:
            graph.setdefault(each.importer, set()).add(target)
    return graph


def test_imports_point_down() -> None:
    """At run time: the parts of a whole may know its type."""
    upwards = [
        f"{each.importer}:{each.line} imports {target}: "
        f"{LAYERS[layer(each.importer)]!r} is below {LAYERS[layer(target)]!r}"
        for each in all_imports()
        if not each.only_types
        and (target := own_module(each.target))
        and layer(target) > layer(each.importer)
    ]
    assert not upwards, "\n".join(upwards)


def test_no_modules_import_each_other() -> None:
    """At run time; a whole and its parts may know each other's types."""
    assert cycle_in(graph_of(each for each in all_imports() if not each.only_types)) is None


def test_a_cycle_would_be_found() -> None:
    assert cycle_in({"a": {"b"}, "b": {"c", "d"}, "d": {"b"}}) == ["b", "d", "b"]
    assert cycle_in({"a": {"b", "c"}, "b": {"c"}}) is None


#: Private names that more than one module may use: those of the standard library's own classes, and
#: the one of a server.
SHARED_NAMES = {"_closed", "_real_close", "_sock", "_handle_request_noblock", "_greensock"}


def private_names_in(tree: ast.Module) -> tuple[set[str], list[ast.Attribute]]:
    """The private names that a module defines, and its uses of such of something else than self."""
    own: set[str] = set()
    used = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # In __slots__, say.
            own.add(node.value)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
        elif isinstance(node, ast.Attribute) and node.attr[0] == "_" != node.attr[1:2]:
            if isinstance(node.ctx, ast.Store):
                own.add(node.attr)
            elif ast.unparse(node.value) not in ("self", "cls", "super()"):
                used.append(node)
    return {name for name in own if name.startswith("_")}, used


def test_no_module_uses_a_private_name_of_another() -> None:
    found = {name: private_names_in(parsed(path)) for name, path in modules().items()}
    everybodys = set().union(*(own for own, _ in found.values()))
    foreign = [
        f"{name}:{node.lineno}: {ast.unparse(node)}"
        for name, (own, used) in found.items()
        for node in used
        if node.attr in everybodys - own - SHARED_NAMES
    ]
    assert not foreign, "\n".join(foreign)


def test_only_the_lot_changes_the_state_of_a_client() -> None:
    changes = [
        f"{name}:{node.lineno}: {ast.unparse(node)}"
        for name, path in modules().items()
        if not is_in(name, "greensock.lot")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and node.attr == "state"
        and ast.unparse(node.value) != "self"
    ]
    assert not changes, "\n".join(changes)


def test_only_hub_touches_the_hub() -> None:
    named = [
        f"{each.importer}:{each.line}: {each.target}"
        for each in all_imports()
        if is_in(each.target, "gevent")
        and any(part in HUB_NAMES or part.startswith("_") for part in each.target.split(".")[1:])
    ]
    used = [
        f"{name}:{node.lineno}: {ast.unparse(node)}"
        for name, path in modules().items()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "gevent"
        and node.attr in HUB_NAMES
    ]
    outside = [each for each in named + used if not is_in(each.partition(":")[0], "greensock.hub")]
    assert named
    assert not outside, "\n".join(outside)


def test_only_locustfiles_and_loadtest_import_locust() -> None:
    """Nothing that another process runs may come by locust, by whatever way: it patches."""
    graph = graph_of(each for each in all_imports() if not each.only_types)
    reaching = {
        each.importer
        for each in all_imports()
        if is_in(each.target, "locust") and not each.only_types
    }
    assert reaching
    while more := {name for name, targets in graph.items() if targets & reaching} - reaching:
        reaching |= more
    outside = sorted(name for name in reaching if not is_in(name, *LOCUST_FOLDERS))
    assert not outside, f"importing these loads locust: {outside}"


def test_files_are_short_enough() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    long = [
        f"{path}: {length} lines" for path, length in lengths.items() if length > MAX_FILE_LINES
    ]
    assert not long, "\n".join(long)


def test_folders_are_small_enough() -> None:
    sizes = Counter(
        module_name(path.parent / "__init__.py")
        for path in modules().values()
        if path.stem != "__init__"
    )
    large = {name for name in sizes if sizes[name] > MAX_MODULES_OF.get(name, MAX_MODULES)}
    assert not large, sizes


def test_functions_are_short_enough() -> None:
    long = [
        f"{path}:{node.lineno}: {node.name}: {length} lines"
        for path in SOURCES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := length_without_docstring(node)) > MAX_FUNCTION_LINES
    ]
    assert not long, "\n".join(long)


def length_without_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node) is not None:
        docstring = node.body[0]
        length -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return length


def comments(path: Path) -> list[tokenize.TokenInfo]:
    with path.open("rb") as source:
        return [
            each for each in tokenize.tokenize(source.readline) if each.type == tokenize.COMMENT
        ]


def test_nothing_is_left_to_do() -> None:
    found = [
        f"{path}:{each.start[0]}: {each.string}"
        for path in SOURCES
        for each in comments(path)
        if any(word in each.string for word in ("TODO", "FIXME", "XXX"))
    ]
    assert not found, "\n".join(found)


def test_module_names_say_what_is_in_them() -> None:
    # From the checkout on: what the folder around it is called is its owner's.
    empty = [
        path for path in SOURCES if EMPTY_NAMES & set(path.relative_to(ROOT).with_suffix("").parts)
    ]
    assert not empty
