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
    *("durable_objects", "api", "openai", "batches", "sessions", "strategies", "repl", "runs", "settings", "journal"),
    *("models", "budget", "text", "json_schema", "wire", "adapters", "sandbox", "http", "log", "timers", "json_scan"),
    *("ports", "messages", "errors"),
)
KNOW_THE_PLATFORM = ("adapters", "durable_objects", "sandbox")
PURE = ("text/boundaries", "text/chunker", "text/chunks", "text/graphemes", "text/names", "text/packing", "text/quotes")
PURE_TOO = ("text/relevance", "text/tokens", "strategies/prompts", "repl/code_blocks", "models/pricing", "json_scan")
# Read what callers, models and sandboxes send: never with Python's `json`, which descends as far as they like.
READ_FOREIGN = ("batches/input", "repl/protocol", "repl/response_schema", "adapters/workers_ai", "wire/requests")
READ_FOREIGN_TOO = ("openai/schemas", "json_schema/schema", "json_scan", "http")
MAX_MODULES = 12


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
    return sorted(path for path in (src / package).rglob("*.py") if not path.stem.startswith("__"))


def noun(path: Path, src: Path = SRC) -> str:
    return ".".join(path.relative_to(src / "rlm_worker").with_suffix("").parts)


def part(path: Path, src: Path = SRC) -> str:
    """The folder of a module of the Worker, or its own name where it lies in none."""
    return noun(path, src).partition(".")[0]


def outside(*parts: str) -> list[Path]:
    return [path for path in modules("rlm_worker") if part(path) not in parts]


def arrows(src: Path = SRC) -> Mapping[str, set[str]]:
    """Which parts each part imports; doubles, which are not uploaded, stand beside the layout."""
    ours = [path for path in modules("rlm_worker", src) if part(path, src) != "testing"]
    parts = {part(path, src) for path in ours}
    found: dict[str, set[str]] = {name: set() for name in parts}
    for path in ours:
        names = [name.split(".") for name in imports(path, src) if name.startswith("rlm_worker.")]
        found[part(path, src)] |= {own[1] for own in names if own[1] in parts} - {part(path, src)}
    return found


def floors(below: Mapping[str, set[str]]) -> Mapping[str, int]:
    """How many parts stand below each other under each part; of a circle, no part is below the others."""

    def floor(name: str, above: frozenset[str]) -> int:
        return 1 + max((floor(other, above | {name}) for other in below[name] - above), default=0)

    return {name: floor(name, frozenset({name})) for name in below}


FOLDERS = sorted({path.parent for top in (SRC, ROOT / "scripts") for path in top.rglob("*.py")} - {SRC})


def test_every_part_has_its_place() -> None:
    assert {part(path) for path in outside("testing")} == set(ORDER)


@pytest.mark.parametrize("upper", ORDER)
def test_imports_go_down(upper: str) -> None:
    assert arrows()[upper] <= set(ORDER[ORDER.index(upper) + 1 :])


def test_no_way_back() -> None:
    ways = arrows()
    assert not [(one, other) for one in ways for other in ways[one] if one in ways.get(other, ())]


def test_scripts_have_no_way_back() -> None:
    """The same for what runs on this machine: commands stand on models, runtime and setup, not the other way round."""
    local = ROOT / "scripts" / "local"
    ways: dict[str, set[str]] = {folder.name: set() for folder in local.iterdir() if (folder / "__init__.py").exists()}
    for path in local.rglob("*.py"):
        own = path.relative_to(local).parts[0]
        names = [name.split(".") for name in imports(path, ROOT) if name.startswith("scripts.local.")]
        ways.get(own, set()).update(name[2] for name in names if name[2] in ways and name[2] != own)
    assert set(ways) == {"commands", "models", "runtime", "scripted", "setup"}
    assert not [(one, other) for one in ways for other in ways[one] if one in ways[other]]
    assert not [name for name, below in ways.items() if "commands" in below]


def test_command_line_stands_on_client() -> None:
    core = [path for path in modules("rlm_client") if path.parent.name == "rlm_client"]
    assert len(core) > 10
    assert not [path for path in core for name in imports(path) if name.startswith("rlm_client._cli")]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_folders_stay_small(folder: Path) -> None:
    assert len([path for path in folder.glob("*.py") if not path.stem.startswith("__")]) <= MAX_MODULES


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


@pytest.mark.parametrize("name", sorted(PURE + PURE_TOO))
def test_pure_means_no_await(name: str) -> None:
    tree = ast.parse((WORKER / f"{name}.py").read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]


@pytest.mark.parametrize("name", READ_FOREIGN + READ_FOREIGN_TOO)
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
