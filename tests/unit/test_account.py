"""A key's books: what is handed out never passes the cap, and what was booked is what was spent."""

from __future__ import annotations

import pytest

from rlm_worker.budget.account import FIRST_LEASE_SECONDS, LEASE_SECONDS, Account, AccountLimits
from rlm_worker.errors import RateLimited
from rlm_worker.testing import SqliteDatabase

NOON = 1_700_049_600.0  # 2023-11-15 12:00 UTC
MIDNIGHT = NOON + 43_200


def account(daily: float | None = 1.0, runs: int | None = 2, database: SqliteDatabase | None = None) -> Account:
    return Account(database or SqliteDatabase(), AccountLimits(daily, runs))


def test_slots_are_counted() -> None:
    books = account(runs=2)
    books.open("a", 0.1, NOON)
    books.open("b", 0.1, NOON)
    with pytest.raises(RateLimited, match=r"concurrent run limit .*\(2\)"):
        books.open("c", 0.1, NOON)
    books.close("a", 0.05, NOON)
    assert books.open("c", 0.1, NOON) == 0.1


def test_opening_twice_is_once() -> None:
    books = account(runs=1)
    assert books.open("a", 0.1, NOON) == books.open("a", 0.1, NOON) == 0.1
    assert books.state(NOON)["runs"] == 1


def test_closing_twice_is_once() -> None:
    books = account()
    books.open("a", 0.5, NOON)
    books.close("a", 0.2, NOON)
    books.close("a", 0.2, NOON)
    assert books.state(NOON)["spentTodayUsd"] == 0.2


def test_grants_share_the_day() -> None:
    books = account(daily=1.0, runs=None)
    assert books.open("a", 0.7, NOON) == 0.7
    assert books.open("b", 0.7, NOON) == pytest.approx(0.3)
    with pytest.raises(RateLimited, match="daily spending limit"):
        books.open("c", 0.1, NOON)
    assert books.extend("a", 0.8, NOON) == 0.7
    books.close("b", 0.0, NOON)
    assert books.extend("a", 0.8, NOON) == pytest.approx(0.8)


def test_refusal_names_midnight() -> None:
    books = account(daily=0.1)
    books.open("a", 0.1, NOON)
    books.close("a", 0.1, NOON)
    with pytest.raises(RateLimited) as refusal:
        books.open("b", 0.1, NOON)
    assert NOON + refusal.value.retry_after == pytest.approx(MIDNIGHT, abs=1)
    assert books.open("b", 0.1, MIDNIGHT + 1) == 0.1


def test_lost_run_frees_slot() -> None:
    books = account(runs=1)
    books.open("a", 0.4, NOON)
    later = NOON + FIRST_LEASE_SECONDS + 1
    assert books.open("b", 0.4, later) == 0.4
    assert books.state(later)["spentTodayUsd"] == 0.4
    books.close("a", 0.1, later)
    assert books.state(later)["spentTodayUsd"] == pytest.approx(0.1)


def test_lost_run_credits_its_day() -> None:
    """What a lost run has not spent goes back to the day on which it was presumed spent."""
    books = account(daily=1.0, runs=None)
    books.open("a", 0.99, NOON)
    assert books.state(NOON + FIRST_LEASE_SECONDS)["spentTodayUsd"] == 0.99
    books.open("b", 0.99, MIDNIGHT + 1)
    books.close("b", 0.99, MIDNIGHT + 2)
    books.close("a", 0.0, MIDNIGHT + 3)
    assert books.state(MIDNIGHT + 3)["spentTodayUsd"] == 0.99
    assert books.open("c", 0.99, MIDNIGHT + 4) == pytest.approx(0.01)


def test_lost_run_spares_next_day() -> None:
    """Nothing of it counts on a day that begins after its lease has ended, whenever that is found out."""
    books = account(daily=1.0, runs=None)
    books.open("a", 0.9, NOON)
    assert books.state(MIDNIGHT + 1)["spentTodayUsd"] == 0
    books.close("a", 0.4, MIDNIGHT + 1)
    assert books.state(MIDNIGHT + 1)["spentTodayUsd"] == 0


def test_closed_run_stays_closed() -> None:
    """A renewal that comes after the end takes no slot."""
    books = account(runs=1)
    books.open("a", 0.4, NOON)
    books.close("a", 0.1, NOON + 1)
    assert books.extend("a", 0.0, NOON + 2) == 0.1
    assert books.extend("a", 0.3, NOON + 2) == 0.1
    assert books.state(NOON + 2)["runs"] == 0
    books.open("b", 0.1, NOON + 3)


def test_lost_run_takes_slot_again() -> None:
    books = account(runs=1)
    books.open("a", 0.4, NOON)
    later = NOON + FIRST_LEASE_SECONDS + 1
    assert books.state(later)["runs"] == 0
    assert books.extend("a", 0.0, later) == 0.4
    assert books.state(later)["runs"] == 1


def test_renewal_keeps_slot() -> None:
    books = account(runs=1)
    books.open("a", 0.4, NOON)
    books.extend("a", 0.0, NOON + 20)
    with pytest.raises(RateLimited):
        books.open("b", 0.1, NOON + LEASE_SECONDS)


def test_resumed_run_books_the_rest() -> None:
    books = account()
    books.open("a", 0.5, NOON)
    books.close("a", 0.2, NOON)
    assert books.open("a", 0.5, NOON) == pytest.approx(0.7)
    books.close("a", 0.3, NOON)
    assert books.state(NOON)["spentTodayUsd"] == pytest.approx(0.3)


def test_resumption_needs_no_slot() -> None:
    books = account(runs=1)
    books.open("a", 0.1, NOON)
    books.open("b", 0.1, NOON, resumed=True)
    assert books.state(NOON)["runs"] == 2


def test_books_survive_restart() -> None:
    database = SqliteDatabase()
    account(runs=1, database=database).open("a", 0.4, NOON)
    again = account(runs=1, database=database)
    with pytest.raises(RateLimited):
        again.open("b", 0.1, NOON)


def test_no_cap_grants_freely() -> None:
    books = account(daily=None, runs=None)
    assert books.open("a", 1_000.0, NOON) == 1_000.0
    assert books.extend("a", 5_000.0, NOON) >= 5_000.0


def test_no_cap_grants_little() -> None:
    """What a lost run is presumed to have spent, and what stands in the way of a later cap, is near what it asked."""
    books = account(daily=None, runs=None)
    books.open("a", 0.02, NOON)
    books.extend("a", 0.03, NOON)
    books.limit_daily(1.0)
    assert books.open("b", 0.02, NOON) == 0.02
    assert float(str(books.state(NOON + LEASE_SECONDS + 1)["spentTodayUsd"])) < 1.0


def test_earlier_run_is_adopted() -> None:
    """Books that begin while a run goes on take it in, as far as their cap allows; one that was closed stays so."""
    books = Account(SqliteDatabase(), AccountLimits(1.0), "this deployment", adopts=True)
    assert books.extend("early", 0.5, NOON) >= 0.5
    books.close("early", 0.6, NOON)
    assert books.state(NOON)["spentTodayUsd"] == 0.6
    assert books.extend("early", 0.7, NOON) == 0.6
    assert books.extend("another", 0.5, NOON) == 0.0


def test_own_limit_stands_before_default() -> None:
    database = SqliteDatabase()
    books = account(daily=1.0, database=database)
    books.limit_daily(0.3)
    assert books.open("a", 1.0, NOON) == 0.3
    assert account(daily=1.0, database=database).state(NOON)["dailyUsd"] == 0.3
    books.limit_daily(0)
    assert books.state(NOON)["dailyUsd"] is None
    books.limit_daily(None)
    assert books.state(NOON)["dailyUsd"] == 1.0


def test_lowered_cap_lowers_grants() -> None:
    """Who asks is told what is left; what it may have spent already stays covered."""
    books = account(daily=1.0, runs=None)
    books.open("a", 0.9, NOON)
    books.limit_daily(0.5)
    assert books.extend("a", 0.0, NOON) == 0.9
    assert books.extend("a", 0.4, NOON + 1) == 0.5
    assert books.extend("a", 0.6, NOON + 2) == 0.5
    books.close("a", 0.4, NOON + 3)
    assert books.open("b", 0.9, NOON + 4) == pytest.approx(0.1)


def test_spent_grant_outlives_lower_cap() -> None:
    books = account(daily=1.0, runs=None)
    books.open("a", 0.9, NOON)
    books.limit_daily(0.5)
    assert books.extend("a", 0.8, NOON) == 0.5
    with pytest.raises(RateLimited):
        books.open("b", 0.1, NOON)


def test_refusal_names_whose() -> None:
    books = Account(SqliteDatabase(), AccountLimits(0.1), "this deployment")
    books.open("a", 0.1, NOON)
    with pytest.raises(RateLimited, match="for this deployment"):
        books.open("b", 0.1, NOON)
