"""Where everything lies that is built or run locally."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LocalPaths:
    """Folders of one checkout: `parts` may be shared by several (RLM_LOCAL_DIR), `own` belongs to this one."""

    root: Path
    parts: Path

    @property
    def own(self) -> Path:
        return self.root / ".local"

    @property
    def state(self) -> Path:
        return self.own / "state"

    @property
    def venv(self) -> Path:
        return self.parts / "venv"

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.venv / "lib" / version / "site-packages"

    @property
    def python_path(self) -> str:
        """For Python's own variable: the scripts, and the client that they use."""
        return os.pathsep.join((str(self.root), str(self.root / "src")))

    @property
    def npm(self) -> Path:
        return self.parts / "npm"

    @property
    def wrangler(self) -> Path:
        return self.npm / "node_modules" / "wrangler" / "bin" / "wrangler.js"

    @property
    def workerd(self) -> Path:
        system = "darwin" if sys.platform == "darwin" else "linux"
        machine = "arm64" if platform.machine() in {"arm64", "aarch64"} else "64"
        return self.npm / "node_modules" / "@cloudflare" / f"workerd-{system}-{machine}" / "bin" / "workerd"

    @property
    def pyodide(self) -> Path:
        return self.npm / "node_modules" / "pyodide"

    @property
    def python_modules(self) -> Path:
        return self.parts / "python_modules"

    @property
    def bundle(self) -> Path:
        return self.parts / "bundle"

    @property
    def snapshot(self) -> Path:
        return self.parts / "snapshot"

    @property
    def models(self) -> Path:
        return self.parts / "models"

    @property
    def runner(self) -> Path:
        """What Node runs: the Worker and the AI binding's stand-in in one workerd."""
        return self.scripts / "runtime" / "runner.mjs"

    @property
    def workerd_launcher(self) -> Path:
        """What miniflare takes for workerd."""
        return self.scripts / "runtime" / "workerd"

    @property
    def platform(self) -> Path:
        """The limits that stand between the Worker and workerd."""
        return self.scripts / "platform"

    @property
    def ai_worker(self) -> Path:
        return self.scripts / "models" / "ai.mjs"

    @property
    def constraints(self) -> Path:
        return self.scripts / "setup" / "constraints.txt"

    @property
    def scripts(self) -> Path:
        return self.root / "scripts" / "local"

    @property
    def logs(self) -> Path:
        return self.parts / "logs"

    @property
    def stamps(self) -> Path:
        return self.parts / "stamps"


def local_paths() -> LocalPaths:
    """The paths of the checkout that this file lies in."""
    root = Path(__file__).resolve().parents[2]
    shared = os.environ.get("RLM_LOCAL_DIR")
    return LocalPaths(root=root, parts=Path(shared).expanduser().resolve() if shared else root / ".local")
