"""`rlm status`, `result`, `cancel`, `trajectory`: runs that have a session."""

from __future__ import annotations

import sys

import click
from rich.table import Table
from rich.text import Text

from rlm_client._cli.console import (
    clipped,
    moment,
    money,
    notes,
    output,
    print_facts,
    print_json,
    print_result,
    seconds,
    short,
)
from rlm_client._cli.errors import Exit, exit_unless, reports_errors
from rlm_client._cli.options import connected, json_option, quiet_option, worker_options
from rlm_client._cli.progress import follow, watcher
from rlm_client._client import RLMClient
from rlm_client._models import SessionStatus, Trajectory, TrajectoryAttempt, TrajectoryCall, TrajectorySandbox

session_argument = click.argument("session_id", metavar="SESSION")


@click.command()
@session_argument
@click.option("--watch", is_flag=True, help="Follow the run to its end and print the answer.")
@json_option
@worker_options
@reports_errors
def status(session_id: str, *, watch: bool, as_json: bool, base_url: str | None, api_key: str | None) -> None:
    """Show how far a run is and what it has cost."""
    with connected(base_url, api_key) as client:
        if watch:
            _watch(client, session_id, as_json=as_json)
        else:
            _show(client.status(session_id), as_json=as_json)


@click.command()
@session_argument
@click.option("--wait", is_flag=True, help="Wait until there is one.")
@json_option
@quiet_option
@worker_options
@reports_errors
def result(
    session_id: str, *, wait: bool, as_json: bool, quiet: bool, base_url: str | None, api_key: str | None
) -> None:
    """Print a run's answer."""
    with connected(base_url, api_key) as client:
        found = client.wait(session_id) if wait else client.result(session_id)
    if found is None:
        notes().print("Still running: --wait waits for it.")
        sys.exit(Exit.NOT_NOW)
    print_result(found, as_json=as_json, quiet=quiet)
    exit_unless(found.success)


@click.command()
@session_argument
@json_option
@worker_options
@reports_errors
def cancel(session_id: str, *, as_json: bool, base_url: str | None, api_key: str | None) -> None:
    """Stop a run and delete its session, its journal and its stored context."""
    with connected(base_url, api_key) as client:
        before = client.status(session_id)
        cancelled = client.cancel(session_id)
    if as_json:
        print_json(cancelled.to_json())
    else:
        spent = max(before.cost_usd, cancelled.cost_usd or 0.0)
        output().print(f"Deleted. It was {before.status} and had cost {money(spent)}.", soft_wrap=True)


@click.command()
@session_argument
@click.option("--full", is_flag=True, help="Print every prompt and response whole.")
@json_option
@worker_options
@reports_errors
def trajectory(session_id: str, *, full: bool, as_json: bool, base_url: str | None, api_key: str | None) -> None:
    """Show every model call of a run: its caller, its cost, its response."""
    with connected(base_url, api_key) as client:
        found = client.trajectory(session_id)
    if as_json:
        print_json(found.to_json())
    elif full:
        _print_calls(found)
    else:
        output().print(_table(found))


def _watch(client: RLMClient, session_id: str, *, as_json: bool) -> None:
    found = follow(client.events(session_id), watcher(notes(), quiet=False))
    print_result(found, as_json=as_json, quiet=False)
    exit_unless(found.success)


def _show(found: SessionStatus, *, as_json: bool) -> None:
    if as_json:
        print_json(found.to_json())
        return
    facts = {
        "session": found.session_id,
        "follows": found.previous_session_id,
        "status": found.status + (f" ({found.phase})" if found.phase and not found.finished else ""),
        "strategy": found.strategy,
        "chunks": f"{found.chunks_done:,} of {found.chunks:,}" if found.chunks else None,
        "iterations": found.iterations or None,
        "sub-calls": f"{found.sub_calls:,}",
        "cost": money(found.cost_usd),
        "started": moment(found.started_at),
        "updated": moment(found.updated_at),
    }
    print_facts({name: value for name, value in facts.items() if value})


def _table(found: Trajectory) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("call", "what", "model"):
        table.add_column(name, no_wrap=True)
    for name in ("in", "out", "cost", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("response", no_wrap=True, overflow="ellipsis")
    depths = _depths(found)
    for call in found.calls:
        table.add_row(*_row(call, depths[call.id]))
    for attempt in found.failed_attempts:
        table.add_row(*_failed_row(attempt))
    for sandbox in found.sandboxes:
        table.add_row(*_sandbox_row(sandbox))
    return table


def _row(call: TrajectoryCall, depth: int) -> list[Text]:
    cells = [
        "  " * depth + call.id,
        _what(call),
        short(call.model),
        f"{call.input_tokens:,}",
        f"{call.output_tokens:,}",
        money(call.cost_usd),
        seconds(call.duration_ms),
        clipped(_plain(call.response), 80),
    ]
    return [Text(cell) for cell in cells]


def _failed_row(attempt: TrajectoryAttempt) -> list[Text]:
    cells = [
        "-",
        "failed attempt",
        short(attempt.model),
        f"{attempt.input_tokens:,}",
        f"{attempt.output_tokens:,}",
        money(attempt.cost_usd),
        "",
        clipped(attempt.reason, 80),
    ]
    return [Text(cell, style="dim") for cell in cells]


def _sandbox_row(sandbox: TrajectorySandbox) -> list[Text]:
    whose = f"of the child run {sandbox.parent}" if sandbox.parent else ""
    return [Text(cell, style="dim") for cell in ("-", "sandbox", "", "", "", money(sandbox.cost_usd), "", whose)]


def _what(call: TrajectoryCall) -> str:
    return call.kind if call.chunk is None else f"{call.kind} chunk {call.chunk}"


def _depths(found: Trajectory) -> dict[str, int]:
    depths: dict[str, int] = {}
    for call in found.calls:
        depths[call.id] = depths.get(call.parent or "", -1) + 1
    return depths


def _print_calls(found: Trajectory) -> None:
    console = output()
    for call in found.calls:
        line = f"{call.id} · {_what(call)} · {short(call.model)} · {money(call.cost_usd)} · {seconds(call.duration_ms)}"
        console.print(Text(line, style="bold"), soft_wrap=True)
        for name, value in (("prompt", call.prompt), ("response", call.response)):
            console.print(Text(f"── {name}", style="dim"))
            console.print(Text(_plain(value)), soft_wrap=True)
        console.print()


def _plain(value: object) -> str:
    """Return text as it is, a conversation turn by turn, and anything else as Python shows it."""
    if isinstance(value, list):
        return "\n".join(_plain(item) for item in value)
    if isinstance(value, dict) and "content" in value:
        return f"[{value.get('role', '?')}] {_plain(value['content'])}"
    return "" if value is None else str(value)
