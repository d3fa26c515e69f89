"""Values out of quotations: what follows, what is null because it is not sure, what is refused."""

from __future__ import annotations

import pytest

from rlm_worker.tables.schema import Column, ColumnType
from rlm_worker.tables.values import Followed, Hints, follow, hints_of


def value(raw: object, evidence: str, kind: ColumnType = "decimal", unit: str = "", text: str = "") -> Followed:
    return follow(raw, Column("amount", kind, unit=unit), evidence, hints_of(text or evidence))


def delivered(raw: object, evidence: str) -> Followed:
    return follow(raw, Column("delivered", "boolean"), evidence, Hints())


@pytest.mark.parametrize(
    ("raw", "evidence", "unit", "expected"),
    [
        ("$1.2B", "a revenue of $1.2B in all", "USD", 1_200_000_000),
        ("1.2", "a revenue of $1.2B in all", "USD", 1_200_000_000),
        (1_200_000_000, "a revenue of $1.2B in all", "USD", 1_200_000_000),
        ("1,200 million", "made 1,200 million", "USD", 1_200_000_000),
        ("€1.2bn", "made €1.2bn", "EUR", 1_200_000_000),
        ("€1.2bn", "made €1.2bn", "million EUR", 1_200),
        ("1.200 Millionen", "machte 1.200 Millionen", "EUR", 1_200_000_000),
        ("1.234,56", "macht 1.234,56 €", "EUR", 1234.56),
        ("1,234.56", "pays $1,234.56", "USD", 1234.56),
        ("1'234.50", "kostet CHF 1'234.50", "CHF", 1234.5),
        ("12,34,567", "paid ₹12,34,567", "INR", 1_234_567),
        ("5%", "rose by 5% in May", "%", 5),
        ("-5%", "changed by -5% in May", "%", -5),
        ("3 dozen", "sold 3 dozen of them", "", 36),
        (3, "three of them came", "", 3),
        ("twenty-one", "twenty-one of them came", "", 21),
        ("2 hours", "took 2 hours", "minutes", 120),
        ("5m", "paid £5m", "GBP", 5_000_000),
        ("5m", "ran 5m", "metres", 5),
        ("12万", "共有12万人", "", 120_000),
    ],
)
def test_numbers_that_follow(raw: object, evidence: str, unit: str, expected: float) -> None:
    assert value(raw, evidence, unit=unit) == Followed(expected, "verbatim")


@pytest.mark.parametrize(
    ("raw", "evidence", "unit"),
    [
        ("€1.2bn", "made €1.2bn", "USD"),
        ("$5", "made $5", ""),
        ("5%", "rose by 5%", ""),
        ("1,234", "exactly 1,234", ""),
        ("1.234", "exactly 1.234", ""),
        ("2 hours", "took 2 hours", ""),
        ("5 km", "ran 5 km", "minutes"),
        ("5m", "ran 5m", ""),
        ("12345678901234567", "id 12345678901234567", ""),
        ("unspecified", "paid something", ""),
    ],
)
def test_unsure_numbers_are_null(raw: object, evidence: str, unit: str) -> None:
    assert value(raw, evidence, unit=unit) == Followed(None, "null")


@pytest.mark.parametrize(
    ("raw", "evidence"),
    [("17", "took 18 minutes"), (5, "rose by -5 to 3"), ("1", "from 10-12"), ("4", "on 04/05/2023"), ("12", "id A12B")],
)
def test_wrong_numbers_are_refused(raw: object, evidence: str) -> None:
    assert value(raw, evidence).refused


def test_text_hints_at_decimals() -> None:
    assert value("1,234", "exactly 1,234", text="It was 3.5 and exactly 1,234").value == 1234
    assert value("1,234", "exactly 1,234", text="Es war 3,5 und exactly 1,234").value == 1.234


def test_integers_are_whole() -> None:
    assert value("2.5", "weighs 2.5 of them", "integer") == Followed(None, "null")
    assert value("2024", "seen on 03/04/2024", "integer").value == 2024


@pytest.mark.parametrize(
    ("raw", "evidence", "expected"),
    [
        ("2023-02-02", "Date: Feb 02, 2023 || User: 76153", "2023-02-02"),
        ("Feb 02, 2023", "Date: Feb 02, 2023 || User: 76153", "2023-02-02"),
        ("spring 2023", "opened in spring 2023", "2023"),
        ("2023-04-01", "opened in spring 2023", "2023"),
        ("2023-05", "on 3 May 2023", "2023-05"),
        ("4. März 2024", "am 4. März 2024", "2024-03-04"),
        ("2024年3月4日", "于2024年3月4日", "2024-03-04"),
        ("13/04/2024", "on 13/04/2024", "2024-04-13"),
        ("03.04.2024", "am 03.04.2024", "2024-04-03"),
        ("2024-03-04", "at 2024-03-04T10:00:00Z", "2024-03-04"),
    ],
)
def test_dates_that_follow(raw: str, evidence: str, expected: str) -> None:
    assert value(raw, evidence, "date") == Followed(expected, "verbatim")


@pytest.mark.parametrize(
    ("raw", "evidence"),
    [
        ("03/04/2024", "on 03/04/2024"),
        ("2024-04-03", "on 03/04/2024"),
        ("4 March", "on 4 March"),
        ("31 Feb 2023", "on 31 Feb 2023"),
        ("FY2023", "in FY2023"),
        ("yesterday", "it came yesterday"),
    ],
)
def test_unsure_dates_are_null(raw: str, evidence: str) -> None:
    assert value(raw, evidence, "date") == Followed(None, "null")


def test_text_hints_at_days() -> None:
    assert value("03/04/2024", "on 03/04/2024", "date", text="on 03/04/2024 and 25/04/2024").value == "2024-04-03"
    assert value("03/04/2024", "on 03/04/2024", "date", text="on 03/04/2024 and 04/25/2024").value == "2024-03-04"


def test_wrong_dates_are_refused() -> None:
    assert value("2023-02-03", "on Feb 02, 2023", "date").refused


@pytest.mark.parametrize("evidence", ["was not delivered", "wasn't delivered", "never delivered", "undelivered"])
def test_denied_is_not_true(evidence: str) -> None:
    assert delivered(True, f"The parcel {evidence} by them.") == Followed(None, "null")
    assert delivered(False, f"The parcel {evidence} by them.") == Followed(False, "derived")


def test_labels_are_derived() -> None:
    assert delivered("yes", "The parcel was delivered.") == Followed(True, "derived")
    kinds = Column("kind", "enum", enum=("numeric value", "location"))
    assert follow("Numeric Value", kinds, "How many are there?", Hints()) == Followed("numeric value", "derived")
    assert follow("other", kinds, "How many are there?", Hints()).refused


@pytest.mark.parametrize(
    ("raw", "evidence"),
    [
        ("J. Smith", "J. Smith called"),
        ("smith", "J. Smith called"),
        ("76153", "User: 76153 ||"),
        ("王小明", "王小明来电"),
    ],
)
def test_names_that_follow(raw: str, evidence: str) -> None:
    assert value(raw, evidence, "string") == Followed(raw, "verbatim")


@pytest.mark.parametrize(
    ("raw", "evidence"),
    [
        ("John Smith", "J. Smith called"),
        ("7615", "User: 76153 ||"),
        ("Smit", "J. Smith called"),
        ("a complaint from Anna about slow bills", "the client said that the bills are slow"),
    ],
)
def test_wrong_names_are_refused(raw: str, evidence: str) -> None:
    assert value(raw, evidence, "string").refused


def test_question_proves_nothing() -> None:
    column = Column("who", "string")
    asked = "did the head of the northern office call?"
    assert follow("the head of the northern office", column, "somebody called at nine", Hints(), asked).refused
    assert follow("Anna", column, "somebody called at nine", Hints(), "did Anna call?").refused


@pytest.mark.parametrize(
    ("evidence", "unit"),
    [
        *((f"it was {said} long", "km") for said in ("5 miles", "5 feet")),
        ("weighs 5 tonnes", "kg"),
        ("holds 5 GB", "MB"),
        ("used 5 MWh", "kWh"),
        ("at 5 °F", "°C"),
        ("took 5 years", "months"),
        *((f"paid {said} there", "USD") for said in ("NZ$5", "S$5", "₿5", "5 cents", "5¢")),
        *((f"paid {said} there", "EUR") for said in ("₺5", "5 zł", "5 THB")),
        ("at minus 5 degrees", ""),
        ("a change of \u2013 5 %", "%"),
        ("a loss of (5)", ""),
    ],
)
def test_foreign_units_are_null(evidence: str, unit: str) -> None:
    assert value("5", evidence, unit=unit) == Followed(None, "null")


@pytest.mark.parametrize(
    "said",
    ["$1.2 B", "$1.2 bln", "$1.2 bil.", "$1.2-billion", "$1.2\nbillion", "$1.2  billion", "$0.0012 trn", "$1200 mln"],
)
def test_scales_in_any_dress(said: str) -> None:
    assert value(said, f"sold for {said} in all", unit="USD").value == 1_200_000_000


@pytest.mark.parametrize(
    ("evidence", "unit"),
    [
        ("made 5 calls", ""),
        ("took 5 years", ""),
        ("paid 5 dollars on Monday", "USD"),
        ("took 5 months", "months"),
        ("ran 5 miles", "mile"),
        ("holds 5 GB", "GB"),
        ("at 5 °C", "°C"),
    ],
)
def test_own_units_are_good(evidence: str, unit: str) -> None:
    assert value("5", evidence, unit=unit).value == 5


def test_long_numbers_are_null() -> None:
    number = "1" + "0" * 44 + "1"
    assert value(number, f"the number {number} in all").value is None


def test_parts_of_numbers_are_none() -> None:
    for part in ("two hundred", "200", "fifty", "50"):
        assert value(part, "two hundred fifty of them came").value is None
    assert value("two hundred", "two hundred of them came").value == 200
