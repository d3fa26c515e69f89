"""`scripts/dev`: serves the Worker in the real workerd until Ctrl-C."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

import click

from rlm_worker.settings import known_vars
from scripts.local.errors import LocalError
from scripts.local.models.answering import merged
from scripts.local.models.backend import AIServer, AISide, ai_side
from scripts.local.models.judge_options import judge_upstreams
from scripts.local.models.provider_options import provider_variables
from scripts.local.paths import LocalPaths, local_paths
from scripts.local.platform.switches import STRICT_VARIABLE, SWITCHES
from scripts.local.processes import say, termination_raises
from scripts.local.runtime.deployment import deployment, free_port
from scripts.local.runtime.run_config import FRONT_VARIABLE, Upstream
from scripts.local.runtime.watchdog import CELL_SECONDS, watch

# What the Worker reads elsewhere than in its settings.
_BESIDE_SETTINGS = frozenset({"RLM_LOCAL_BUNDLE", STRICT_VARIABLE, *(switch.variable for switch in SWITCHES)})


def _check_ai(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if value in {"local", "scripted", "remote"} or value.startswith(("http://", "https://")):
        return value
    raise click.BadParameter("local, scripted, remote or the URL of an OpenAI-compatible server")


def _check_variables(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    if not all(name and equals for name, equals, _ in pairs):
        raise click.BadParameter("NAME=VALUE is the form")
    variables = {name: value for name, _, value in pairs}
    for name in variables:
        if (problem := unknown_variable(name, variables)) is not None:
            raise click.BadParameter(problem)
    return variables


def unknown_variable(name: str, variables: Mapping[str, str]) -> str | None:
    """What to say of a var that the Worker does not read; None where it does, or a test's front may."""
    if os.environ.get(FRONT_VARIABLE):
        return None
    known = known_vars(variables) | _BESIDE_SETTINGS
    if name in known:
        return None
    nearest = get_close_matches(name.upper(), sorted(known), n=1, cutoff=0.6)
    return f"the Worker reads no {name}" + (f": is {nearest[0]} meant?" if nearest else "; the README lists the vars")


def _check_key(_context: click.Context, _parameter: click.Parameter, name: str | None) -> str:
    if name and not os.environ.get(name):
        raise click.BadParameter(f"the environment has no {name}")
    return os.environ[name] if name else ""


def _check_providers(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    try:
        return provider_variables(values)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _check_judges(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, Upstream]:
    try:
        return judge_upstreams(values)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), help="Default: 8787 if it is free; 0: any free port.")
@click.option("--state", type=click.Path(path_type=Path), help="Folder of R2, KV and Durable Object data.")
@click.option("--ai", default="local", callback=_check_ai, help="local (default), scripted, remote, or a URL.")
@click.option("--ai-model", default="", metavar="NAME", help="Of an --ai URL: the one model that it is asked for.")
@click.option("--ai-key-env", "ai_key", callback=_check_key, metavar="VAR", help="Of an --ai URL: VAR holds its key.")
@click.option("--ai-window", type=click.IntRange(256), default=8192, help="Tokens that --ai-model reads; default 8192.")
@click.option(
    "--provider",
    "providers",
    multiple=True,
    callback=_check_providers,
    metavar="NAME[:TYPE]=URL",
    help="A provider beside the AI binding; its key is NAME_API_KEY of the environment. Repeatable.",
)
@click.option(
    "--judge",
    "judges",
    multiple=True,
    callback=_check_judges,
    metavar="NAME=URL",
    help="Where the judge reranker or embeddings is asked in the place of Workers AI's. Repeatable.",
)
@click.option("--var", "variables", multiple=True, callback=_check_variables, metavar="NAME=VALUE", help="Repeatable.")
def main(
    *,
    port: int | None,
    state: Path | None,
    ai: str,
    ai_model: str,
    ai_key: str,
    ai_window: int,
    providers: Mapping[str, str],
    judges: Mapping[str, Upstream],
    variables: Mapping[str, str],
) -> None:
    """Serves the Worker in the real runtime and prints `ready http://127.0.0.1:N`; ends with Ctrl-C."""
    if (ai_model or ai_key) and "://" not in ai:
        raise click.UsageError("--ai-model and --ai-key-env go with the URL of a server: --ai http://…")
    if judges and ai == "remote":
        raise click.UsageError("--judge takes the place of Workers AI's judges, which --ai remote asks")
    paths = local_paths()
    folder = (state or paths.state / "dev").resolve()
    backend = AIServer(ai, ai_model, ai_key, ai_window) if "://" in ai else ai
    try:
        with termination_raises(), ai_side(paths, backend) as side:
            _serve(paths, folder, port, side.judged_by(judges), merged(providers, variables))
    except LocalError as error:
        say(error.report())
        sys.exit(1)
    except KeyboardInterrupt:
        say("ended")


def _serve(paths: LocalPaths, state: Path, port: int | None, side: AISide, variables: Mapping[str, str]) -> None:
    all_variables = merged(side.variables, variables)
    with deployment(paths, state, port=free_port(port), upstreams=side.upstreams, variables=all_variables) as running:
        side.wait()
        running.announce(side.announced)
        print(f"ready {running.url}", flush=True)
        status = watch(running, float(all_variables.get("MAX_CELL_SECONDS", CELL_SECONDS)))
        raise LocalError(f"the runtime ended by itself with status {status}", hint="its output above says why")


if __name__ == "__main__":
    main(prog_name="scripts/dev")
