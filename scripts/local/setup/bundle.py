"""Puts a Pyodide bundle together from the npm package, for machines that cannot reach the official one.

The bundle is one Cap'n Proto message. Its schema (workerd's `pyodide.capnp`) is restated here as far as it is used; the
glue code is adapted by plain replacement, so that it calls the hooks that workerd's own Python support exports. Each
replacement must find its text: a Pyodide that has changed stops the build instead of failing in the runtime.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import capnp

from scripts.local.errors import LocalError
from scripts.local.paths import LocalPaths
from scripts.local.processes import end_group, start_group
from scripts.local.setup.pins import OFFICIAL_BUNDLES

BUNDLE_NAME = "pyodide_dev.capnp.bin"
_REACH_SECONDS = 3.0
_FETCH_SECONDS = 120.0
_POLL_SECONDS = 0.2

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

_PROBE = """using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (services = [(name = "main", worker = (
  modules = [(name = "main.py", pythonModule = "from workers import WorkerEntrypoint")],
  compatibilityDate = "2026-09-08", compatibilityFlags = ["python_workers"],
))]);
"""


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


def official_bundle_works(paths: LocalPaths) -> bool:
    """Lets workerd download the official bundle into the bundle folder; false where that cannot be had."""
    return host_answers(OFFICIAL_BUNDLES) and _fetch_official(paths)


def host_answers(url: str, timeout: float = _REACH_SECONDS) -> bool:
    """Whether anything at all answers over HTTP at `url` within `timeout` seconds."""
    try:
        with urllib.request.urlopen(url, timeout=timeout):  # noqa: S310 -- a constant https address
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _fetch_official(paths: LocalPaths) -> bool:
    probe = paths.bundle / "probe.capnp"
    probe.write_text(_PROBE, encoding="utf-8")
    log = paths.logs / "official-bundle.log"
    with log.open("wb") as output:
        cache = f"--pyodide-bundle-disk-cache-dir={paths.bundle}"
        process = start_group([paths.workerd, "serve", cache, probe], output)
        try:
            return wait_until_written(process, paths.bundle, "pyodide_*.capnp.bin")
        finally:
            end_group(process)


def wait_until_written(process: subprocess.Popen[bytes], folder: Path, pattern: str) -> bool:
    """Waits until workerd has written such a file and it grows no more; false where none comes."""
    deadline, before = time.monotonic() + _FETCH_SECONDS, 0
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        size = sum(file.stat().st_size for file in folder.glob(pattern))
        if ended or (size and size == before):
            return size > 0
        before = size
        time.sleep(_POLL_SECONDS)
    return False
