"""`rlm ask`: a question about files and folders."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from rlm_client._cli.console import count, money, notes, output, print_json, print_result, roughly, short
from rlm_client._cli.errors import exit_unless, reports_errors
from rlm_client._cli.estimate import Estimate, estimate, routed, with_defaults
from rlm_client._cli.files import STDIN, Collected, Selection, collect
from rlm_client._cli.interrupt import RunningSession, cancelled_on_interrupt
from rlm_client._cli.last_session import remember_session
from rlm_client._cli.options import (
    connected,
    instructions_option,
    json_option,
    quiet_option,
    schema_option,
    worker_options,
)
from rlm_client._cli.output import check_writable
from rlm_client._cli.progress import Watcher, watcher
from rlm_client._cli.progress import follow as follow_stream
from rlm_client._cli.tables import read_schema, rows_option, table_option, write_rows
from rlm_client._client import RLMClient
from rlm_client._context import Context, PreviousSession
from rlm_client._errors import APIError, NotFoundError, ProtocolError
from rlm_client._models import RLMConfig, RLMResult, RunDefaults
from rlm_client._stream import EventStream

from .follow import FollowingCommand, follow_option, session_to_follow
from .report import report_option, write_report

POSITIVE = click.FloatRange(0, min_open=True)
MAX_LISTED = 20
"""Documents that a dry run names one by one."""


@dataclass(frozen=True, slots=True)
class Guesses:
    """What a question will cost, and what it would by each policy."""

    chosen: Estimate
    by_policy: dict[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Question:
    """A query, the documents or the earlier session that it is about, and the options of its run."""

    query: str
    collected: Collected
    config: RLMConfig
    schema: Mapping[str, object] | None = None
    instructions: str | None = None
    previous: PreviousSession | None = None
    table: Mapping[str, object] | None = None

    @property
    def context(self) -> Context:
        """What it is about."""
        return self.previous or self.collected.documents

    def estimate(self, client: RLMClient, *, by_policy: bool = False) -> Guesses:
        """Guess the cost from the deployment's own prices, defaults and rules; with `by_policy` for each policy too."""
        models, limits = client.models(), client.health().limits
        config = with_defaults(self.config, limits.defaults if limits else RunDefaults())
        characters = self.collected.characters
        if not by_policy and self.config.routing is None:
            return Guesses(estimate(characters, config, models))
        try:
            preview = client.preview_routing(self.query, characters, self.config)
        except NotFoundError:  # a Worker of an earlier version has no rules
            return Guesses(estimate(characters, config, models))
        chosen = estimate(characters, routed(config, preview.routing), models)
        others = {name: estimate(characters, routed(config, it), models) for name, it in preview.alternatives.items()}
        return Guesses(chosen, others)


@dataclass(frozen=True, slots=True)
class Written:
    """The files that are written beside the answer."""

    report: Path | None
    rows: Path | None

    def check(self, *, background: bool) -> None:
        """Raise `UsageError` for what cannot be written, before anything is paid for."""
        if background and self.report is not None:
            raise click.UsageError(
                "--report waits for the answer: without --background, or later by `rlm report SESSION`."
            )
        if background and self.rows is not None:
            raise click.UsageError("--rows waits for the answer: ask without --background.")
        check_writable(self.report)
        check_writable(self.rows)

    def write(self, client: RLMClient, result: RLMResult) -> None:
        """Write them, once the run has ended."""
        write_report(client, result.session_id, self.report)
        write_rows(client, result, self.rows)


@click.command(cls=FollowingCommand)
@click.argument("query", metavar="QUESTION")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--strategy", type=click.Choice(["auto", "direct", "map_reduce", "table", "repl"]), help="How to read.")
@click.option("--root-model", metavar="MODEL", help="The model that plans and answers.")
@click.option("--sub-model", metavar="MODEL", help="The model that reads the chunks.")
@click.option("--policy", "routing", metavar="NAME", help="Choose models by cheapest, fastest, best, or your own.")
@click.option("--max-cost", "max_cost_usd", type=POSITIVE, metavar="USD", help="Spend no more than this.")
@click.option("--max-iterations", type=int, metavar="N", help="Turns of the root model at most.")
@click.option("--max-sub-calls", type=int, metavar="N", help="Calls to sub-models at most.")
@click.option("--chunk-size", type=click.IntRange(1), metavar="N", help="Characters that a sub-model reads at once.")
@click.option("--max-output", "max_output_tokens", type=click.IntRange(1), metavar="N", help="Tokens of each reply.")
@click.option(
    "--reasoning-effort",
    type=click.Choice(["none", "minimal", "low", "medium", "high", "xhigh", "max"]),
    help="How much models think that can.",
)
@click.option(
    "--relevance",
    type=click.Choice(["bm25", "reranker", "embeddings", "decision"]),
    help="Who chooses what is read where not all can be.",
)
@click.option("--timeout", "timeout_seconds", type=POSITIVE, metavar="SECONDS", help="End the run after this.")
@click.option("--no-cache", "use_cache", flag_value=False, default=None, help="Ask anew what was asked before.")
@click.option("--include", multiple=True, metavar="PATTERN", help="From folders take only such files, as in '*.py'.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="From folders leave out such files.")
@click.option("--dry-run", is_flag=True, help="Show what would be sent and its estimated cost; ask nothing.")
@click.option("--background", is_flag=True, help="Start the run, print its session, and leave.")
@schema_option
@instructions_option
@table_option
@rows_option
@follow_option
@report_option
@json_option
@quiet_option
@worker_options
@reports_errors
def ask(
    query: str,
    paths: tuple[str, ...],
    *,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    dry_run: bool,
    background: bool,
    schema: Mapping[str, object] | None,
    instructions: str | None,
    schema_path: Path | None,
    rows_path: Path | None,
    follow: str | None,
    report_path: Path | None,
    as_json: bool,
    quiet: bool,
    base_url: str | None,
    api_key: str | None,
    **config: object,
) -> None:
    """Ask a QUESTION about files and folders; - is standard input.

    Folders are walked: what .gitignore names, what is binary, and files that usually hold secrets are left out; a
    file given by name is always read. The answer goes to standard output, everything else to standard error.
    """
    files = Written(report_path, rows_path)
    files.check(background=background)
    if follow is not None and (paths or dry_run):
        raise click.UsageError("--follow is about the text of the session before: without PATH, and without --dry-run.")
    table = None if schema_path is None else {"schema": read_schema(schema_path)}
    found = collected(paths, Selection.of(include, exclude)) if follow is None else Collected()
    options = RLMConfig.model_validate(config)
    with connected(base_url, api_key) as client:
        previous = None if follow is None else session_to_follow(client, follow)
        question = Question(query, found, options, schema, instructions, previous, table)
        if dry_run:
            _dry_run(client, question, as_json=as_json)
        elif background:
            _start(client, question, as_json=as_json)
        else:
            _ask(client, question, as_json=as_json, quiet=quiet, files=files)


def collected(paths: Sequence[str], selection: Selection) -> Collected:
    """Return the documents that paths name; raises `UsageError` where there is no text in them."""
    if not paths and sys.stdin.isatty():
        raise click.UsageError("Name a file or a folder to ask about, or - for standard input.")
    found = collect(paths or [STDIN], selection)
    if not found.characters:
        raise click.UsageError(f"No text to ask about ({_skipped(found) or 'everything is empty'}).")
    return found


def _ask(client: RLMClient, question: Question, *, as_json: bool, quiet: bool, files: Written) -> None:
    console = notes()
    if not quiet:
        _show_sending(console, question)
        _show_cost(console, _estimated(client, question), question.config)
    watching = watcher(console, quiet=quiet)
    stream = client.stream(
        question.context,
        question.query,
        question.config,
        response_schema=question.schema,
        instructions=question.instructions,
        table=question.table,
        on_upload=watching.upload,
    )
    with cancelled_on_interrupt(RunningSession(client, stream, watching.state), console):
        result = _followed(client, stream, watching)
    print_result(result, as_json=as_json, quiet=quiet, as_written=question.schema is not None)
    files.write(client, result)
    exit_unless(result.success)


def _followed(client: RLMClient, stream: EventStream, watching: Watcher) -> RLMResult:
    """Follow a run to its end; one that failed can be followed up as well, one that was cancelled is gone."""
    try:
        return follow_stream(stream, watching)
    finally:
        if not isinstance(sys.exception(), KeyboardInterrupt):
            remember_session(client.base_url, stream.session_id)


def _start(client: RLMClient, question: Question, *, as_json: bool) -> None:
    submitted = client.submit(
        question.context,
        question.query,
        question.config,
        response_schema=question.schema,
        instructions=question.instructions,
        table=question.table,
    )
    remember_session(client.base_url, submitted.session_id)
    if as_json:
        print_json(submitted.to_json())
    else:
        output().print(submitted.session_id, soft_wrap=True)
        notes().print(f"Running. See `rlm status --watch {submitted.session_id}`.", soft_wrap=True)


def _dry_run(client: RLMClient, question: Question, *, as_json: bool) -> None:
    guesses = question.estimate(client, by_policy=True)
    if as_json:
        print_json(_plan(question, guesses))
        return
    console = output()
    _show_sending(console, question)
    _show_documents(console, question.collected)
    _show_cost(console, guesses.chosen, question.config)
    _show_policies(console, guesses.by_policy)
    console.print(Text("Dry run: nothing was sent.", style="dim"))


def _estimated(client: RLMClient, question: Question) -> Estimate | None:
    # A Worker that does not list its prices may still answer; how long an earlier session's text is only it knows.
    if question.previous is not None:
        return None
    try:
        return question.estimate(client).chosen
    except (APIError, ProtocolError):
        return None


def _plan(question: Question, guesses: Guesses) -> dict[str, object]:
    documents = [{"name": item.name, "characters": len(item.text)} for item in question.collected.documents]
    return {
        "documents": documents,
        "skipped": dict(question.collected.skipped),
        "characters": question.collected.characters,
        "estimate": _figures(guesses.chosen),
        "policies": {name: _figures(guess) for name, guess in guesses.by_policy.items()},
    }


def _figures(guess: Estimate) -> dict[str, object]:
    return {
        "strategy": guess.strategy,
        "tokens": guess.tokens,
        "chunks": guess.chunks,
        "costUsd": guess.cost_usd,
        "pricesOf": guess.dated,
        "rootModel": guess.root.id if guess.root else None,
        "subModel": guess.sub.id if guess.sub else None,
    }


def _show_sending(console: Console, question: Question) -> None:
    found = question.collected
    if question.previous is not None:
        console.print(Text.assemble(("Following ", "bold"), f"session {question.previous.session_id}"), soft_wrap=True)
        return
    size = f"{count(len(found.documents), 'document')} · {count(found.characters, 'character')}"
    left_out = f" · left out: {_skipped(found)}" if found.skipped else ""
    console.print(Text.assemble(("Sending  ", "bold"), size, (left_out, "dim")), soft_wrap=True)


def _skipped(found: Collected) -> str:
    return ", ".join(f"{number:,} {reason}" for reason, number in sorted(found.skipped.items()))


def _show_documents(console: Console, found: Collected) -> None:
    by_size = sorted(found.documents, key=lambda document: -len(document.text))
    width = max(len(f"{len(document.text):,}") for document in by_size)
    for document in by_size[:MAX_LISTED]:
        console.print(Text(f"  {len(document.text):>{width},}  {document.name}"), soft_wrap=True)
    if rest := by_size[MAX_LISTED:]:
        size = sum(len(document.text) for document in rest)
        console.print(Text(f"  {size:>{width},}  in {count(len(rest), 'smaller document')}", style="dim"))


def _show_cost(console: Console, guess: Estimate | None, config: RLMConfig) -> None:
    if guess is None:
        return
    console.print(Text.assemble(("Estimate ", "bold"), _guess(guess)), soft_wrap=True)
    limit = config.max_cost_usd
    if limit is not None and guess.cost_usd is not None and guess.cost_usd > limit:
        warning = f"warning: --max-cost {money(limit)} is below that; only the most relevant chunks will be read"
        console.print(Text(warning, style="yellow"), soft_wrap=True)


def _show_policies(console: Console, guesses: Mapping[str, Estimate]) -> None:
    width = max(map(len, guesses), default=0)
    for name, guess in guesses.items():
        cost = "unknown" if guess.cost_usd is None else f"about {money(guess.cost_usd)}"
        reads = f" · {short(guess.sub.id)} reads" if guess.sub and guess.chunks else ""
        answers = f" · {short(guess.root.id)} answers" if guess.root else ""
        console.print(Text(f"  --policy {name:<{width}}  {cost}{reads}{answers}", style="dim"), soft_wrap=True)


def _guess(guess: Estimate) -> str:
    cost = "cost unknown in advance" if guess.cost_usd is None else f"about {money(guess.cost_usd)}"
    chunks = count(guess.chunks, "chunk") if guess.chunks else ""
    prices = f"prices of {guess.dated}" if guess.dated else ""
    return " · ".join(
        part for part in (cost, f"~{roughly(guess.tokens):,} tokens", guess.strategy, chunks, prices) if part
    )
