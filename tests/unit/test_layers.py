"""Who may import whom: the lines that the layout draws."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
PLATFORM = {"js", "pyodide", "workers", "_cloudflare_compat_flags", "_pyodide_entrypoint_helper"}
LEAVES = {"errors", "catalog", "usage", "chunks"}
PURE = {"chunking", "prompts", "tokens", "boundaries", "packing", "arriving", "graphemes", "relevance", "chunks"}


def imports(path: Path) -> Iterator[str]:
    """Absolute names of everything that a module imports."""
    package = path.relative_to(SRC).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level] if node.level else ()
            module = ".".join((*base, node.module)) if node.module else ".".join(base)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def modules(package: str) -> list[Path]:
    return sorted((SRC / package).rglob("*.py"))


def noun(path: Path) -> str:
    return ".".join(path.relative_to(SRC / "rlm_worker").with_suffix("").parts)


def inside(*edges: str) -> list[Path]:
    """The Worker's modules but those below these folders."""
    return [path for path in modules("rlm_worker") if not set(edges) & set(path.parts)]


@pytest.mark.parametrize("path", inside("adapters", "sandbox"), ids=noun)
def test_platform_stays_outside(path: Path) -> None:
    assert not {name.partition(".")[0] for name in imports(path)} & PLATFORM


@pytest.mark.parametrize("path", inside("adapters"), ids=noun)
def test_core_ignores_adapters(path: Path) -> None:
    assert not [name for name in imports(path) if name.startswith("rlm_worker.adapters")]


def test_ports_import_leaves() -> None:
    own = {name for name in imports(SRC / "rlm_worker" / "ports.py") if name.startswith("rlm_worker.")}
    assert {name.split(".")[1] for name in own} <= LEAVES


@pytest.mark.parametrize("path", modules("rlm_client"), ids=lambda path: path.stem)
def test_client_stands_alone(path: Path) -> None:
    assert not [name for name in imports(path) if name.partition(".")[0] == "rlm_worker"]


@pytest.mark.parametrize("name", sorted(PURE))
def test_pure_means_no_await(name: str) -> None:
    tree = ast.parse((SRC / "rlm_worker" / f"{name}.py").read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]


def test_no_import_cycle() -> None:
    graph = {
        f"rlm_worker.{noun(path)}": {name for name in imports(path) if name.startswith("rlm_worker.")}
        for path in modules("rlm_worker")
        if path.stem != "__init__"
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
