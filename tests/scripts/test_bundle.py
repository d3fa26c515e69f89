"""The assembled Pyodide bundle: every hook in place, or a clear stop."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.local.errors import LocalError
from scripts.local.setup.bundle import BUNDLE_NAME, REPLACEMENTS, adapt_glue, assemble_bundle

GLUE = ";".join(replacement.text for replacement in REPLACEMENTS)


def test_hooks_take_over() -> None:
    glue = adapt_glue(GLUE)
    for gone in ("new WebAssembly.Module", "WebAssembly.instantiate", "Date.now", "crypto.", "eval("):
        assert gone not in glue
    assert "Module.getMemoryPatched(Module, libName, " in glue


@pytest.mark.parametrize("missing", REPLACEMENTS, ids=lambda replacement: replacement.text)
def test_missing_text_stops(missing: object) -> None:
    kept = [replacement.text for replacement in REPLACEMENTS if replacement is not missing]
    with pytest.raises(LocalError, match="to replace"):
        adapt_glue(";".join(kept))


def test_bundle_holds_parts(tmp_path: Path) -> None:
    (tmp_path / "pyodide.asm.mjs").write_text(GLUE, encoding="utf-8")
    (tmp_path / "pyodide.asm.wasm").write_bytes(b"wasm bytes")
    (tmp_path / "python_stdlib.zip").write_bytes(b"zip bytes")
    assemble_bundle(tmp_path, tmp_path)
    message = (tmp_path / BUNDLE_NAME).read_bytes()
    for part in (b"pyodideRuntime-internal:pyodide.asm.wasm", b"wasm bytes", b"zip bytes", b"newWasmModule"):
        assert part in message
