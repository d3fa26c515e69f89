"""Rows of a run as the client has them: typed, as mappings, as a frame where a library is there."""

from __future__ import annotations

import json
import sys
from types import ModuleType

import pytest

from rlm_client import AsyncRLMClient, RequestError, RLMClient, RLMResult, Rows
from tests.client.fake_worker import FakeWorker, Fault

LINES = [
    {
        "id": f"payments:0:{at}-{at + 5}.00",
        "table": "payments",
        "values": {"who": who, "amount": amount, "paid": None},
        "raw": {"amount": f"${amount}"},
        "basis": {"who": "verbatim", "amount": "verbatim", "paid": "null"},
        "citation": {"citedText": who, "documentIndex": 0, "startCharIndex": at, "endCharIndex": at + 5},
    }
    for at, who, amount in ((0, "Ann", 5), (10, "Bob", 7.5))
]
BODY = "".join(f"{json.dumps(line)}\n" for line in LINES).encode()
ACCEPTED = Fault(202, b'{"success": true, "sessionId": "s1", "status": "running"}')


def test_rows_typed(client: RLMClient, worker: FakeWorker) -> None:
    worker.faults.append(Fault(200, BODY))
    rows = client.rows("s1", table="payments")
    assert worker.received[-1].path == "/session/s1/rows?format=ndjson&table=payments"
    assert [row.values["amount"] for row in rows] == [5, 7.5]
    assert rows[1].citation is not None
    assert rows[1].citation.start_char_index == 10
    assert rows[1].basis["paid"] == "null"
    assert rows.dicts()[0] == {"who": "Ann", "amount": 5, "paid": None}
    assert isinstance(rows[:1], Rows)
    assert repr(rows) == "<2 rows of payments>"


def test_rows_waited_for(client: RLMClient, worker: FakeWorker) -> None:
    worker.faults += [ACCEPTED, Fault(200, BODY)]
    assert len(client.rows(RLMResult(success=True, session_id="s1"))) == 2


async def test_rows_awaited(worker: FakeWorker) -> None:
    worker.faults.append(Fault(200, BODY))
    async with AsyncRLMClient(worker.url) as client:
        assert len(await client.rows("s1")) == 2


def test_csv_as_it_comes(client: RLMClient, worker: FakeWorker) -> None:
    worker.faults.append(Fault(200, "id,who\r\n1,Zoë\r\n".encode(), {"content-type": "text/csv; charset=utf-8"}))
    assert client.rows_csv("s1") == "id,who\r\n1,Zoë\r\n"


def test_no_session_no_rows(client: RLMClient) -> None:
    with pytest.raises(RequestError):
        client.rows(RLMResult(success=True))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frame_takes_dicts(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType(library)
    module.DataFrame = lambda rows, **_: rows  # type: ignore[attr-defined] # what is asked of the library
    monkeypatch.setitem(sys.modules, library, module)
    rows = Rows([])
    assert getattr(rows, f"to_{library}")() == []


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        Rows([]).to_pandas()


def test_extraction_has_no_query(client: RLMClient, worker: FakeWorker) -> None:
    table = {"schema": {"tables": []}, "passes": 2}
    client.run("text", None, {"strategy": "table"}, table=table)
    assert worker.received[-1].json() == {"context": "text", "config": {"strategy": "table"}, "table": table}
