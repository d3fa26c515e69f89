"""The command line, in this process, against a real socket."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from rlm_client._cli.app import rlm
from rlm_client._cli.commands.worker import print_models
from rlm_client._cli.errors import MEANINGS
from rlm_client._models import ModelInfo
from tests.client.conftest import IMPATIENT
from tests.client.fake_worker import KEY, FakeWorker, error_fault
from tests.client.played import MODELS

TIER = {"above": 100_000, "inputPrice": 0, "outputPrice": 0}


class Shell:
    """Runs `rlm` with the fake Worker's address and key in the environment."""

    def __init__(self, worker: FakeWorker) -> None:
        self.worker = worker
        self._runner = CliRunner(env={"RLM_BASE_URL": worker.url, "RLM_API_KEY": KEY})

    def __call__(self, *arguments: str, stdin: str | None = None, width: str = "80") -> Result:
        return self._runner.invoke(rlm, arguments, input=stdin, obj=IMPATIENT, env={"COLUMNS": width})


_CHEAPEST = ("--policy", "cheapest")


@pytest.fixture
def shell(worker: FakeWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("alpha " * 20_000)
    (tmp_path / "docs" / "b.txt").write_text("beta")
    return Shell(worker)


def test_answer_alone_on_stdout(shell: Shell) -> None:
    asked = shell("ask", "what?", "docs")

    assert asked.exit_code == 0
    assert asked.stdout == "The answer to “what?” is **42**.\n"
    assert "2 documents · 120,004 characters" in asked.stderr
    assert "about $0.00" in asked.stderr
    assert "Plan     map_reduce · 4 chunks of about " in asked.stderr
    assert "read 4 of 4 chunks · $0.0004" in asked.stderr
    assert "$0.0009 · 8.4 s · map_reduce · 1 iteration · 4 sub-calls" in asked.stderr
    assert shell.worker.received[-1].json()["context"] == [
        {"name": "docs/a.txt", "text": "alpha " * 20_000},
        {"name": "docs/b.txt", "text": "beta"},
    ]


def test_sources_shown(shell: Shell) -> None:
    said = shell("ask", "what?", "docs").stderr

    assert "  …ts/a very long folder/a.txt @ 1,204  Forty-two, said Deep Thought" in said
    assert "  document 2 @ 7                        six by nine (not word for word)" in said
    assert 'warning: not found in the text: "so long, and thanks for all the fish"' in said


def test_rule_shown(shell: Shell) -> None:
    said = shell("ask", "what?", "docs").stderr

    assert "routing: cheapest, rule cheapest · lookup · the context is longer than chunkSize" in said
    assert "· behind them llama-3.3-70b-instruct-fp8-fast" in said


def test_quiet_says_nothing(shell: Shell) -> None:
    asked = shell("ask", "-q", "what?", "docs")

    assert (asked.stdout, asked.stderr) == ("The answer to “what?” is **42**.\n", "")


def test_options_reach_config(shell: Shell) -> None:
    options = "--strategy repl --root-model r --sub-model s --max-cost 0.5 --max-iterations 3 --max-sub-calls 4"
    options += " --reasoning-effort low --relevance reranker"
    shell(
        "ask",
        "q",
        "docs",
        *options.split(),
        "--chunk-size",
        "900",
        "--max-output",
        "70",
        "--timeout",
        "60",
        "--no-cache",
    )

    assert shell.worker.received[-1].json()["config"] == {
        "strategy": "repl",
        "rootModel": "r",
        "subModel": "s",
        "maxCostUsd": 0.5,
        "maxIterations": 3,
        "maxSubCalls": 4,
        "chunkSize": 900,
        "maxOutputTokens": 70,
        "reasoningEffort": "low",
        "relevance": "reranker",
        "timeoutSeconds": 60,
        "useCache": False,
    }


def test_no_options_no_config(shell: Shell) -> None:
    shell("ask", "q", "docs/b.txt")

    assert "config" not in shell.worker.received[-1].json()


def test_stdin_is_a_document(shell: Shell) -> None:
    for arguments in (["-"], []):
        assert shell("ask", "q", *arguments, stdin="from a pipe").exit_code == 0
        assert shell.worker.received[-1].json()["context"] == [{"name": "stdin", "text": "from a pipe"}]


def test_iterations_shown(shell: Shell) -> None:
    asked = shell("ask", "q", "docs", "--strategy", "repl")

    assert (
        '── iteration 1 · $0.0004 · 1.2 s\n  for name, text in context.documents():\n      if "needle"' in asked.stderr
    )
    assert "\n    src/hay.py 1207\n── iteration 1.1/1 · $0 · 8 ms\n  FINAL(6)\n── iteration 2" in asked.stderr


def test_second_answer_announced(shell: Shell) -> None:
    shell.worker.answers_twice = True

    asked = shell("ask", "q", "docs")

    assert asked.stdout == "The answer to “q” is **42**.\n"
    assert "writing the answer\nwriting the answer anew\nSources" in asked.stderr


def test_json_is_the_result(shell: Shell) -> None:
    asked = shell("ask", "q", "docs", "--json")

    assert json.loads(asked.stdout) == shell.worker.sessions["s1"].result


def test_dry_run_asks_nothing(shell: Shell) -> None:
    planned = shell("ask", "q", "docs", "--dry-run", "--max-cost", "0.000001")

    assert planned.exit_code == 0
    assert "  120,000  docs/a.txt\n        4  docs/b.txt\n" in planned.stdout
    assert "Estimate about $0.00" in planned.stdout
    assert "map_reduce · 3 chunks · prices of 2026-10-01" in planned.stdout
    assert "--max-cost $0.000001 is below that" in planned.stdout
    assert shell.worker.paths() == ["GET /v1/models", "GET /health", "POST /rlm/routing"]


def test_dry_run_knows_the_defaults(shell: Shell) -> None:
    defaults = {"strategy": "auto", "chunkSize": 10_000, "maxSubCalls": 9, "maxOutputTokens": None}
    shell.worker.health = (200, {"status": "ok", "limits": {"maxBodyBytes": 1, "defaults": defaults}})

    assert "map_reduce · 9 chunks" in shell("ask", "q", "docs", "--dry-run").stdout
    assert "map_reduce · 7 chunks" in shell("ask", "q", "docs", "--dry-run", "--chunk-size", "20000").stdout


def test_dry_run_as_json(shell: Shell) -> None:
    plan = json.loads(shell("ask", "q", "docs", "--dry-run", "--json").stdout)

    assert plan["documents"][1] == {"name": "docs/b.txt", "characters": 4}
    assert plan["estimate"]["chunks"] == 3
    assert plan["estimate"]["costUsd"] > 0


def test_dry_run_shows_alternatives(shell: Shell) -> None:
    planned = shell("ask", "q", "docs", "--dry-run").stdout

    assert re.search(r"--policy cheapest  about \$0\.0\d+ · llama-3.1-8b\S* reads · llama-3.1-8b\S* answers", planned)
    assert re.search(r"--policy best      about \$0\.0\d+ · llama-3.1-8b\S* reads · llama-3.3-70b\S* answers", planned)


def test_policy_is_priced(shell: Shell) -> None:
    """The guess is that of the policy's models, and the policy travels with the question."""
    plans = [json.loads(shell("ask", "q", "docs", "--dry-run", "--json", *more).stdout) for more in ((), _CHEAPEST)]

    assert plans[1]["estimate"] == plans[0]["policies"]["cheapest"]
    assert plans[1]["estimate"]["costUsd"] < plans[0]["estimate"]["costUsd"]
    assert plans[1]["estimate"]["rootModel"] == plans[1]["estimate"]["subModel"]
    shell("ask", "q", "docs", *_CHEAPEST)
    assert shell.worker.received[-1].json()["config"] == {"routing": "cheapest"}


def test_nothing_to_ask_about(shell: Shell) -> None:
    Path("docs/c.bin").write_bytes(b"\0")

    asked = shell("ask", "q", "docs", "--include", "*.bin")

    assert asked.exit_code == 2
    assert "No text to ask about (1 binary, 2 not included)" in asked.stderr
    assert shell.worker.received == []


def test_failed_run_exits_one(shell: Shell) -> None:
    shell.worker.failure = {"type": "nothing_read", "message": "no chunk could be read"}

    asked = shell("ask", "q", "docs", "--json")

    assert asked.exit_code == 1
    assert json.loads(asked.stdout)["error"] == {"type": "nothing_read", "message": "no chunk could be read"}
    assert "error: no chunk could be read (nothing_read)" in asked.stderr


@pytest.mark.parametrize(
    ("status", "code"), [(401, 4), (403, 4), (404, 5), (409, 2), (413, 2), (422, 2), (429, 6), (500, 1), (504, 1)]
)
def test_exit_codes_documented(status: int, code: int, shell: Shell) -> None:
    shell.worker.faults.append(error_fault(status))

    assert shell("status", "s1").exit_code == code
    assert f"  {code:>3}  {MEANINGS[code]}" in shell("--help").stdout  # type: ignore[index]


def test_field_path_printed(shell: Shell) -> None:
    # The estimate's two requests come first.
    shell.worker.faults.extend([error_fault(200), error_fault(200)])
    shell.worker.faults.append(error_fault(422, detail=[{"path": "config.chunkSize", "message": "too large"}]))

    asked = shell("ask", "q", "docs", "--chunk-size", "99999999")

    assert asked.exit_code == 2
    assert "config.chunkSize: too large" in asked.stderr


def test_unreachable_gives_advice(shell: Shell) -> None:
    answered = shell("health", "--base-url", "http://127.0.0.1:9")

    assert answered.exit_code == 3
    assert "rlm serve" in answered.stderr
    assert "RLM_BASE_URL" in answered.stderr


def test_refused_key_gives_advice(shell: Shell) -> None:
    answered = shell("models", "--api-key", "wrong-one")

    assert answered.exit_code == 4
    assert "RLM_API_KEY" in answered.stderr
    assert "req-401" in answered.stderr
    assert "wrong-one" not in answered.output


def test_session_commands(shell: Shell) -> None:
    session_id = shell("ask", "q", "docs", "--background").stdout.strip()

    assert "chunks     4 of 4\n" in shell("status", session_id).stdout
    assert shell("status", session_id, "--watch").stdout == "The answer to “q” is **42**.\n"
    assert shell("result", session_id).stdout == "The answer to “q” is **42**.\n"
    table = shell("trajectory", session_id).stdout.splitlines()
    assert table[1].split()[:6] == ["c1", "sub", "llama-3.1-8b", "12,000", "9", "$0.0001"]
    assert table[2].startswith("  c2  root")
    assert table[3].split()[:6] == ["-", "failed", "attempt", "llama-3.1-8b-instruct-fp8-fast", "900", "512"]
    assert table[3].endswith("3007: no answer in 120 s")
    assert table[4].split() == ["-", "sandbox", "$0.002"]
    assert "[user] Answer." in shell("trajectory", session_id, "--full").stdout
    assert "had cost $0.0004" in shell("cancel", session_id).stdout
    assert shell("status", session_id).exit_code == 5


def test_watched_failure_exits_one(shell: Shell) -> None:
    session_id = shell("ask", "q", "docs", "--background").stdout.strip()
    session = shell.worker.sessions[session_id]
    session.events[-1] = ("result", {**session.result, "success": False})

    assert shell("status", session_id, "--watch").exit_code == 1


def test_running_result_exits_six(shell: Shell) -> None:
    shell.worker.next_visible = 3
    session_id = shell("ask", "q", "docs", "--background").stdout.strip()

    assert shell("result", session_id).exit_code == 6
    shell.worker.release(session_id)
    assert shell("result", session_id, "--wait").exit_code == 0


def test_batch_keeps_order(shell: Shell) -> None:
    lines = [{"context": "a", "query": "one"}, {"context": "b", "query": "two"}]
    Path("in.jsonl").write_text("\n\n".join(map(json.dumps, lines)))

    done = shell("batch", "in.jsonl")

    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["index"], row["answer"][15:18]) for row in rows] == [(0, "one"), (1, "two")]
    assert "2 of 2 questions done · $0.0018" in done.stderr
    assert shell("batch", "--resume", "b1", "-o", "out.jsonl").stdout == ""
    assert Path("out.jsonl").read_text() == done.stdout
    assert shell("batch", "in.jsonl", "--no-wait").stdout == "b2\n"


def test_bad_batch_line_named(shell: Shell) -> None:
    asked = shell("batch", "-", stdin='{"context": "a", "query": "one"}\nnot json\n')

    assert asked.exit_code == 2
    assert "Line 2 is not a JSON object" in asked.stderr
    assert shell.worker.received == []


def test_models_listed(shell: Shell) -> None:
    listed = shell("models").stdout.splitlines()

    assert listed[1].split() == [
        "@cf/meta/llama-3.3-70b-instruct-fp8-fast",
        "llama-3.1-70b",
        "24,000",
        "0.293",
        "2.253",
        "2026-10-01",
    ]
    assert json.loads(shell("models", "--json").stdout)[0]["inputPrice"] == 0.293


def test_models_fit_a_terminal() -> None:
    """On 80 columns by provider, each model with its short names below it; no line is broken."""
    free = {"provider": "local", "window": 1_050_000, "inputPrice": 0, "outputPrice": 0, "tiers": [TIER]}
    listed = [ModelInfo.model_validate(model) for model in (*MODELS, {"id": f"local/{'long-name-' * 3}", **free})]
    shown = io.StringIO()
    print_models(Console(file=shown, width=80), listed)
    lines = [line.rstrip() for line in shown.getvalue().splitlines()]
    assert lines[0] == "prices of 2026-10-01"
    assert lines[2].split() == ["@cf/meta/llama-3.3-70b-instruct-fp8-fast", "24k", "0.293", "2.253"]
    assert lines[3] == "  llama-3.1-70b"
    assert lines[7] == "local"
    assert lines[9].split() == ["local/long-name-long-name-long-name-", "1.05M", "0.000+", "0.000+"]
    assert max(map(len, lines)) <= 80


def test_tables_whole_in_pipe(shell: Shell) -> None:
    assert len(shell("models", width="40").stdout.splitlines()) == 3


def test_version_printed(shell: Shell) -> None:
    assert shell("--version").stdout.startswith("rlm, version ")


def test_health_exit_code(shell: Shell) -> None:
    assert shell("health").stdout == "status   ok\nservice  rlm-worker\nversion  1.2.3\n"
    shell.worker.health = (503, {"status": "failing", "bindings": {"AI": "absent"}})

    sick = shell("health", "--deep")

    assert sick.exit_code == 1
    assert "bindings.AI  absent" in sick.stdout


def test_serve_explained_at_once(shell: Shell) -> None:
    assert "--port N" in shell("serve", "--help").stdout


def test_serve_outside_checkout(shell: Shell) -> None:
    served = shell("serve", "--port", "1")

    assert served.exit_code == 2
    assert "Not a checkout of rlm-worker" in served.stderr
