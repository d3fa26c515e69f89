"""`scripts/demo`: a real document and question, the real runtime, real language models; from nothing to an answer."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable

import click
from rich.console import Console

from rlm_client import Document, ResultEvent, RLMClient, RLMConfig, RLMError, RLMResult, RunEvent
from scripts.local.commands.demo_document import QUESTION, demo_documents, is_grounded
from scripts.local.commands.demo_view import DemoView, show_curl, show_result
from scripts.local.errors import LocalError
from scripts.local.models.local_models import describe
from scripts.local.paths import LocalPaths, local_paths
from scripts.local.processes import say, termination_raises
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.setup.weights import ensure_models

# Small models read small pieces best; and what they write is the slow part.
_CONFIG = RLMConfig(chunk_size=6000, max_output_tokens=64, use_cache=False)
_PATIENCE_SECONDS = 3600.0
_WIDTH_ELSEWHERE = 120


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_ELSEWHERE)


@click.command()
@click.option("--keep", is_flag=True, help="Leave it serving afterwards.")
@click.option("--large", is_flag=True, help="Every topic of the language reference: four times as long.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: any free port.")
def main(keep: bool, large: bool, port: int) -> None:
    """Asks a question about a long document and shows how the answer comes about."""
    paths, console = local_paths(), _console()
    try:
        with termination_raises():
            grounded = _demonstrate(paths, console, demo_documents(large=large), port=port, keep=keep)
    except LocalError as error:
        say(error.report())
        sys.exit(1)
    except KeyboardInterrupt:
        say("ended")
        sys.exit(130)
    sys.exit(0 if grounded else 1)


def _demonstrate(paths: LocalPaths, console: Console, documents: list[Document], *, port: int, keep: bool) -> bool:
    characters = sum(len(document.text) for document in documents)
    console.print(f"[bold]Document[/]  {characters:,} characters of the Python language reference (pydoc_data.topics)")
    console.print(f"[bold]Question[/]  {QUESTION}")
    small, large = ensure_models(paths)
    console.print(f"[bold]Models[/]    {describe(small, large)}")
    shutil.rmtree(paths.state / "demo", ignore_errors=True)
    started = time.monotonic()
    with DevProcess(paths.state / "demo", ai="local", port=port, paths=paths, inspector=False) as worker:
        console.print(f"[bold]Worker[/]    {worker.url}, ready in {time.monotonic() - started:.1f} s\n")
        result = _ask(console, worker, documents)
        show_result(console, result)
        grounded = is_grounded(result.answer or "")
        _judge(console, grounded=grounded)
        if keep:
            show_curl(console, worker.url, result.session_id or "")
            _serve_on()
    return grounded


def _ask(console: Console, worker: DevProcess, documents: list[Document]) -> RLMResult:
    try:
        with (
            RLMClient(worker.url, timeout=_PATIENCE_SECONDS) as client,
            client.stream(documents, QUESTION, _CONFIG) as events,
            DemoView(console) as view,
        ):
            return _watch(events, view)
    except RLMError as error:
        raise LocalError(f"the run failed: {error}", hint=f"see {worker.log_file}", output=worker.log()) from error


def _watch(events: Iterable[RunEvent], view: DemoView) -> RLMResult:
    for event in events:
        if isinstance(event, ResultEvent):
            return event.result
        view.show(event)
    raise LocalError("the stream ended without a result")


def _judge(console: Console, *, grounded: bool) -> None:
    if grounded:
        console.print("[green]✓[/] the answer says what the document says")
    else:
        console.print("[red]✗[/] the answer is not the document's: the small local models got it wrong")


def _serve_on() -> None:
    say("serving until Ctrl-C")
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main(prog_name="scripts/demo")
