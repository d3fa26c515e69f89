"""Who may import whom: the lines that the layout draws.

`python tests/unit/test_layers.py [CHECKOUT]` prints the map: each part with its floor, and what it stands on.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"
WORKER = SRC / "rlm_worker"
PLATFORM = {"js", "pyodide", "workers", "_cloudflare_compat_flags", "_pyodide_entrypoint_helper"}
# Top down: each may import what stands below it, and nothing above.
ORDER = (
    "durable_objects",
    "api",
    "anthropic",
    "openai",
    "batches",
    "sessions",
    "report",
    "strategies",
    "judges",
    "repl",
    "runs",
    "settings",
    "routing",
    "journal",
    "models",
    "keys",
    "budget",
    "pace",
    "tables",
    "citations",
    "structured",
    "text",
    "json_schema",
    "wire",
    "adapters",
    "sandbox",
    "http",
    "memory",
    "log",
    "timers",
    "json_scan",
    "variables",
    "ports",
    "messages",
    "errors",
)
KNOW_THE_PLATFORM = ("adapters", "durable_objects", "sandbox")
PURE = ("text/boundaries", "text/chunker", "text/chunks", "text/graphemes", "text/names", "text/packing")
PURE_TOO = ("text/relevance", "text/tokens", "strategies/prompts", "repl/code_blocks", "models/pricing", "json_scan")
PURE_JUDGES = ("judges/merging", "judges/passages", "judges/kinds", "adapters/judges/shapes")
PURE_CITATIONS = tuple(
    f"citations/{noun}" for noun in ("alignment", "borders", "evidence", "folding", "quotes", "segments")
)
# Read what callers, models and sandboxes send: never with Python's `json`, which descends as far as they like.
READ_FOREIGN = ("batches/input", "repl/protocol", "structured/reply", "adapters/workers_ai", "wire/requests")
READ_MODELS = (
    "adapters/providers/streams",
    "adapters/providers/failures",
    "adapters/providers/ai_binding",
    "adapters/judges/shapes",
)
READ_FOREIGN_TOO = ("openai/schemas", "anthropic/schemas", "json_schema/schema", "json_scan", "http")
READ_FOREIGN_STILL = ("text/json_text", "citations/said", "tables/reading", "tables/sql")
_TABLES = "answer", "dates", "entities", "numbers", "prompts", "reading", "records", "rows", "schema", "sql", "verify"
PURE_TABLES = (*(f"tables/{noun}" for noun in _TABLES), "tables/values")
MAX_MODULES, MAX_FUNCTION_LINES = 12, 50


def imports(path: Path, src: Path = SRC) -> Iterator[str]:
    """Absolute names of everything that a module imports."""
    package = path.relative_to(src).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level] if node.level else ()
            module = ".".join((*base, node.module)) if node.module else ".".join(base)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def modules(package: str, src: Path = SRC) -> list[Path]:
    folder = src.joinpath(*package.split("."))
    return sorted(path for path in folder.rglob("*.py") if not path.stem.startswith("__"))


def noun(path: Path, src: Path = SRC, package: str = "rlm_worker") -> str:
    return ".".join(path.relative_to(src.joinpath(*package.split("."))).with_suffix("").parts)


def part(path: Path, src: Path = SRC, package: str = "rlm_worker") -> str:
    """The folder of a package's module, or its own name where it lies in none."""
    return noun(path, src, package).partition(".")[0]


# Those of the Worker, the client and the scripts.
FOLDERS = sorted({path.parent for path in (*modules("."), *modules("scripts", ROOT))} - {SRC})


def outside(*parts: str) -> list[Path]:
    return [path for path in modules("rlm_worker") if part(path) not in parts]


def arrows(src: Path = SRC, package: str = "rlm_worker") -> Mapping[str, set[str]]:
    """Which parts of a package each part imports; doubles, which are not uploaded, stand beside the layout."""
    ours = [path for path in modules(package, src) if part(path, src, package) != "testing"]
    found: dict[str, set[str]] = {part(path, src, package): set() for path in ours}
    for path in ours:
        own = part(path, src, package)
        names = [name.removeprefix(f"{package}.") for name in imports(path, src) if name.startswith(f"{package}.")]
        found[own] |= {name.partition(".")[0] for name in names} & found.keys() - {own}
    return found


def floors(below: Mapping[str, set[str]]) -> Mapping[str, int]:
    """How many parts stand below each other under each part; of a circle, no part is below the others."""

    def floor(name: str, above: frozenset[str]) -> int:
        return 1 + max((floor(other, above | {name}) for other in below[name] - above), default=0)

    return {name: floor(name, frozenset({name})) for name in below}


def test_every_part_has_its_place() -> None:
    assert {part(path) for path in outside("testing")} == set(ORDER)


@pytest.mark.parametrize("upper", ORDER)
def test_imports_go_down(upper: str) -> None:
    assert arrows()[upper] <= set(ORDER[ORDER.index(upper) + 1 :])


@pytest.mark.parametrize(("src", "package"), [(SRC, "rlm_worker"), (ROOT, "scripts"), (ROOT, "scripts.local")])
def test_no_way_back(src: Path, package: str) -> None:
    ways = arrows(src, package)
    assert not [(one, other) for one in ways for other in ways[one] if one in ways.get(other, ())]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_folders_stay_small(folder: Path) -> None:
    assert len([path for path in folder.glob("*.py") if not path.stem.startswith("__")]) <= MAX_MODULES


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_folders_say_what_they_are(folder: Path) -> None:
    assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_stay_short(folder: Path) -> None:
    nodes = [node for path in folder.glob("*.py") for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert not [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION_LINES]


@pytest.mark.parametrize("path", outside(*KNOW_THE_PLATFORM), ids=noun)
def test_platform_stays_outside(path: Path) -> None:
    assert not {name.partition(".")[0] for name in imports(path)} & PLATFORM


@pytest.mark.parametrize("path", outside("adapters", "durable_objects"), ids=noun)
def test_core_ignores_adapters(path: Path) -> None:
    assert not [name for name in imports(path) if name.startswith("rlm_worker.adapters")]


@pytest.mark.parametrize("path", [path for path in modules("rlm_worker") if part(path) == "sandbox"], ids=noun)
def test_sandbox_stands_alone(path: Path) -> None:
    own = [name for name in imports(path) if name.startswith("rlm_worker")]
    assert all(name.startswith("rlm_worker.sandbox") for name in own)


@pytest.mark.parametrize("path", modules("rlm_client"), ids=lambda path: path.stem)
def test_client_stands_alone(path: Path) -> None:
    assert not [name for name in imports(path) if name.partition(".")[0] == "rlm_worker"]


@pytest.mark.parametrize("path", sorted((SRC / "rlm_client").glob("_*.py")), ids=lambda path: path.stem)
def test_client_ignores_command_line(path: Path) -> None:
    assert not [name for name in imports(path) if name.split(".")[:2] == ["rlm_client", "_cli"]]


@pytest.mark.parametrize("name", sorted(PURE + PURE_TOO + PURE_JUDGES + PURE_CITATIONS + PURE_TABLES))
def test_pure_means_no_await(name: str) -> None:
    tree = ast.parse((WORKER / f"{name}.py").read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]


@pytest.mark.parametrize("name", READ_FOREIGN + READ_FOREIGN_TOO + READ_FOREIGN_STILL + READ_MODELS)
def test_foreign_json_is_not_descended(name: str) -> None:
    tree = ast.parse((WORKER / f"{name}.py").read_text(encoding="utf-8"))
    called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not called & {"loads", "load", "JSONDecoder", "raw_decode"}


def test_no_import_cycle() -> None:
    graph = {
        f"rlm_worker.{noun(path)}": {name for name in imports(path) if name.startswith("rlm_worker.")}
        for path in modules("rlm_worker")
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " → ".join((*trail, module))
        if module in done or module not in graph:
            return
        for imported in graph[module]:
            visit(imported, (*trail, module))
        done.add(module)

    for module in graph:
        visit(module, ())


def main(src: Path) -> None:
    ways = arrows(src)
    heights = floors(ways)
    for name in sorted(ways, key=lambda name: (-heights[name], name)):
        print(f"{heights[name]:2} {name:16} {' '.join(sorted(ways[name]))}")
    print(f"{len(ways)} parts, {max(heights.values())} floors, {sum(map(len, ways.values()))} arrows")


if __name__ == "__main__":
    main(Path(sys.argv[1]) / "src" if sys.argv[1:] else SRC)
