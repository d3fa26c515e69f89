"""Puts a Pyodide bundle together from the npm package, for machines that cannot reach the official one.

The bundle is one Cap'n Proto message. Its schema (workerd's `pyodide.capnp`) is restated here as far as it is used; the
glue code is adapted by plain replacement, so that it calls the hooks that workerd's own Python support exports. Each
replacement must find its text: a Pyodide that has changed stops the build instead of failing in the runtime.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import capnp

from scripts.local.errors import LocalError

BUNDLE_NAME = "pyodide_dev.capnp.bin"

_SCHEMA = """@0xc8cbb234694939d5;
struct Bundle { modules @0 :List(Module); }
enum ModuleType { bundle @0; builtin @1; internal @2; }
struct Module {
  name @0 :Text;
  union { src @1 :Data; wasm @4 :Data; data @5 :Data; json @6 :Text; }
  tsDeclaration @3 :Text;
  type @2 :ModuleType;
  compileCache @7 :Data;
}
"""

_IMPORTS = """import {
  addEventListener, getRandomValues, location, monotonicDateNow, newWasmModule, patchedApplyFunc, patchedLoadLibData,
  wasmInstantiate, patched_PyEM_CountFuncParams,
} from "pyodide-internal:builtin_wrappers";
"""
_EXPORTS = "\nexport { _createPyodideModule };\n"

_NO_EVAL = '(() => { throw new Error("eval is not available here") })()'
_LOAD_LIBRARY = (
    "function loadLibData(){{const patched=patchedLoadLibData(Module,libName,flags.rpath);"
    "return flags.loadAsync?Promise.resolve(patched):patched}"
)


@dataclass(frozen=True, slots=True)
class Replacement:
    """`text` as it stands in the glue, and what takes its place wherever it stands."""

    text: str
    by: str


REPLACEMENTS = (
    Replacement("new WebAssembly.Module", "newWasmModule"),
    Replacement("WebAssembly.instantiate", "wasmInstantiate"),
    Replacement("Date.now", "monotonicDateNow"),
    Replacement("crypto.getRandomValues(", "getRandomValues(Module, "),
    Replacement("reportUndefinedSymbols()", "void 0"),
    Replacement("eval(func)", _NO_EVAL),
    Replacement("eval(data)", _NO_EVAL),
    Replacement("eval(UTF8ToString(ptr))", _NO_EVAL),
    Replacement("function loadLibData(){", _LOAD_LIBRARY),
    Replacement("getMemory(", "Module.getMemoryPatched(Module, libName, "),
)


def assemble_bundle(pyodide: Path, folder: Path) -> str:
    """Writes `folder`/pyodide_dev.capnp.bin from the npm package in `pyodide`; returns a word on it."""
    glue = adapt_glue((pyodide / "pyodide.asm.mjs").read_text(encoding="utf-8"))
    parts = (
        ("pyodide.asm", "src", glue.encode()),
        ("pyodide.asm.wasm", "wasm", (pyodide / "pyodide.asm.wasm").read_bytes()),
        ("python_stdlib.zip", "data", (pyodide / "python_stdlib.zip").read_bytes()),
    )
    message = _encode(parts)
    (folder / BUNDLE_NAME).write_bytes(message)
    return f"assembled from npm, {len(message) / 1e6:.0f} MB"


def adapt_glue(glue: str) -> str:
    """The emscripten glue with workerd's hooks in place; LocalError when a text to replace is not there."""
    for replacement in REPLACEMENTS:
        if replacement.text not in glue:
            raise LocalError(
                f"Pyodide's glue has no `{replacement.text}` to replace",
                hint="the pinned Pyodide and workerd do not belong together: see package.json and this script",
            )
        glue = glue.replace(replacement.text, replacement.by)
    return _IMPORTS + glue + _EXPORTS


def _encode(parts: Sequence[tuple[str, str, bytes]]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        schema_file = Path(folder) / "bundle.capnp"
        schema_file.write_text(_SCHEMA, encoding="utf-8")
        schema = capnp.load(str(schema_file))
    bundle = schema.Bundle.new_message()
    for module, (name, kind, content) in zip(bundle.init("modules", len(parts)), parts, strict=True):
        module.name = f"pyodideRuntime-internal:{name}"
        setattr(module, kind, content)
        module.type = "internal"
    encoded: bytes = bundle.to_bytes()
    return encoded
