"""`scripts/models`: what is published beside what the catalogue says; nothing is written unasked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result

from rlm_worker.models.prices import MODELS
from rlm_worker.settings import Settings
from scripts.cloud.catalog.models import main, pins
from scripts.cloud.catalog.price_table import price_table

TOKEN = "token-of-an-account"
SCOUT = "@cf/meta/llama-4-scout-17b-16e-instruct"
Run = Callable[..., Result]


def listed(name: str, window: str, read: float, written: float) -> dict[str, object]:
    price = [
        {"unit": "per M input tokens", "price": read, "currency": "USD"},
        {"unit": "per M output tokens", "price": written, "currency": "USD"},
        {"unit": "per M cached input tokens", "price": 0.01, "currency": "USD"},
    ]
    told = {"context_window": window, "price": price, "require_paid_plan": "true", "lora": "true"}
    properties = [{"property_id": name, "value": value} for name, value in told.items()]
    return {"name": name, "task": {"name": "Text Generation"}, "properties": properties}


class _Account(BaseHTTPRequestHandler):
    """Cloudflare's list of models, two pages long."""

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        allowed = self.headers["authorization"] == f"Bearer {TOKEN}"
        page = int(query["page"][0])
        first = [listed(f"@cf/other/model-{number}", "1000", 1.0, 1.0) for number in range(100)]
        models = first if page == 1 else [listed(SCOUT, "150000", 0.5, 0.85)]
        body = json.dumps({"result": models} if allowed else {"errors": [{"code": 10000}]}).encode()
        self.send_response(200 if allowed else 403)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Account)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/client/v4"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def run(api: str, tmp_path: Path) -> Run:
    def invoke(*options: str, token: str = TOKEN) -> Result:
        environment = {"CLOUDFLARE_ACCOUNT_ID": "a", "CLOUDFLARE_API_TOKEN": token, "COLUMNS": "200"}
        arguments = [f"--api={api}", f"--table={tmp_path / 'prices.py'}", *options]
        return CliRunner().invoke(main, arguments, env=environment)

    return invoke


def test_difference_is_shown(run: Run, tmp_path: Path) -> None:
    shown = run()
    assert shown.exit_code == 0, shown.output
    rows = [line.split() for line in shown.output.splitlines() if line.startswith(SCOUT)]
    assert ["window", "131,000", "150,000"] in [row[1:4] for row in rows]
    assert ["input_price", "0.27", "0.5"] in [row[1:4] for row in rows]
    assert ["cached_price", "-", "0.01"] in [row[1:4] for row in rows]
    assert not (tmp_path / "prices.py").exists()


def test_written_on_demand(run: Run, tmp_path: Path) -> None:
    assert run("--write").exit_code == 0
    written: dict[str, object] = {}
    exec(compile((tmp_path / "prices.py").read_text(encoding="utf-8"), "prices", "exec"), written)
    models = written["MODELS"]
    assert isinstance(models, tuple)
    (scout,) = [model for model in models if model.id == SCOUT]
    assert (scout.window, scout.input_price, scout.paid_only) == (150_000, 0.5, True)
    assert (scout.dated, scout.source) == (str(datetime.now().astimezone().date()), "Cloudflare's list of models")
    assert scout.neurons(1_000_000, 0) == pytest.approx(0.5 / 0.011 * 1000)
    assert scout.output_neurons == 77273
    assert price_table(models) == (tmp_path / "prices.py").read_text(encoding="utf-8")
    assert len(models) == len(MODELS)


def test_refusal_is_told(run: Run) -> None:
    refused = run(token="wrong")
    assert refused.exit_code == 1
    assert "Cloudflare's list of models: 403" in refused.output


def test_package_knows_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list on PyPI has every model of the catalogue, tiers included."""
    pytest.importorskip("genai_prices")
    monkeypatch.delenv("CLOUDFLARE_API_TOKEN", raising=False)
    shown = CliRunner().invoke(main, env={"CLOUDFLARE_ACCOUNT_ID": "", "CLOUDFLARE_API_TOKEN": "", "COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert f"in {len(MODELS)} of {len(MODELS)} models" in shown.output
    assert not [line for line in shown.output.splitlines() if "tiers" in line]


def test_pins_are_overrides() -> None:
    """What --pin prints is a value of MODEL_OVERRIDES that changes nothing today."""
    names = ("llama-3.1-8b", "anthropic/claude-haiku-5-5")
    pinned = Settings.from_vars({"MODEL_OVERRIDES": pins(names)}.get)
    standard = Settings.from_vars(lambda _: None)
    for name in names:
        before, after = standard.catalog.find(name), pinned.catalog.find(name)
        assert before is not None
        assert after is not None
        assert after.prices(200_000) == before.prices(200_000)
        assert (after.window, after.dated, after.fallback) == (before.window, before.dated, before.fallback)
