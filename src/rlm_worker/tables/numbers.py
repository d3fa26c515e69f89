# ruff: noqa: RUF001  the signs of other scripts are meant
"""Numbers in text, exactly as they are written, and what they are in a column's unit; null where that is not sure.

Neither scale nor currency is ever guessed: a bare number is in the column's unit, one with a scale, a currency or a
unit of its own is converted where the two are of one kind, and is nothing where they are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import lru_cache
from unicodedata import category

MAX_DIGITS = 15
_ONE = Decimal(1)
_EXACT = Context(prec=40)
_THOUSAND, _MILLION, _BILLION, _TRILLION = (Decimal(10) ** power for power in (3, 6, 9, 12))
_SCALES: Mapping[str, Decimal] = {
    **dict.fromkeys(("thousand", "thousands", "k", "tsd", "tausend"), _THOUSAND),
    **dict.fromkeys(("million", "millions", "mn", "mln", "mio", "millionen", "millones", "milioni"), _MILLION),
    **dict.fromkeys(
        ("billion", "billions", "bn", "bln", "bil", "milliarde", "milliarden", "mrd", "milliard", "milliards"), _BILLION
    ),
    **dict.fromkeys(("trillion", "trillions", "tn", "trn", "billionen"), _TRILLION),
    "hundred": Decimal(100),
    "dozen": Decimal(12),
    "lakh": Decimal(10) ** 5,
    "crore": Decimal(10) ** 7,
    "万": Decimal(10) ** 4,
    "萬": Decimal(10) ** 4,
    "亿": Decimal(10) ** 8,
    "億": Decimal(10) ** 8,
}
_ENGLISH_SCALES = frozenset(
    ("thousand", "million", "billion", "trillion", "bn", "mln", "bln", "trn", "bil", "hundred", "lakh", "crore")
)
_GERMAN_SCALES = frozenset(("tsd", "tausend", "mio", "millionen", "milliarde", "milliarden", "mrd", "billionen"))
# Letters that are a scale only behind money, or where the column says how large its numbers are.
_LETTERS: Mapping[str, Decimal] = {"m": _MILLION, "b": _BILLION, "t": _TRILLION}
_CURRENCIES: Mapping[str, str] = {
    **dict.fromkeys(("us$", "usd", "us-dollar"), "USD"),
    **dict.fromkeys(("€", "eur", "euro", "euros"), "EUR"),
    **dict.fromkeys(("£", "gbp"), "GBP"),
    **dict.fromkeys(("jpy",), "JPY"),
    **dict.fromkeys(("cny", "rmb", "元", "人民币"), "CNY"),
    **dict.fromkeys(("₹", "inr"), "INR"),
    **dict.fromkeys(("₩", "krw"), "KRW"),
    **dict.fromkeys(("₽", "rub"), "RUB"),
    "chf": "CHF",
    "cad": "CAD",
    "c$": "CAD",
    "ca$": "CAD",
    "aud": "AUD",
    "a$": "AUD",
    "au$": "AUD",
    "円": "JPY",
    "sek": "SEK",
    "nok": "NOK",
    "dkk": "DKK",
    "pln": "PLN",
    "brl": "BRL",
    "r$": "BRL",
    "mxn": "MXN",
    "hk$": "HKD",
    # Signs and words that several countries share.
    **dict.fromkeys(("$", "dollar", "dollars"), "$"),
    **dict.fromkeys(("¥", "yen", "yuan"), "¥"),
    **dict.fromkeys(("pound", "pounds"), "£?"),
}
_SHARED: Mapping[str, frozenset[str]] = {
    "$": frozenset(("USD", "CAD", "AUD", "HKD", "MXN", "$")),
    "¥": frozenset(("JPY", "CNY", "¥")),
    "£?": frozenset(("GBP", "£?", "lb")),
}
_PERCENT = frozenset(("%", "percent", "per cent", "pct", "percentage", "prozent", "％"))
# Units that are none of another one here: a number of them is in a column of theirs only.
_FOREIGN = (
    "mile miles foot feet yard yards tonne tonnes ton tons ounce ounces oz lbs month months year "
    "years kb mb gb tb kwh mwh gwh wh cent cents zł thb °c °f celsius fahrenheit"
)
_NOT_CONVERTED = frozenset(_FOREIGN.split())
# Units that are a whole number of each other: kind, and how many of the smallest.
_UNITS: Mapping[str, tuple[str, Decimal]] = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), ("time", Decimal(1))),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "sekunden"), ("time", Decimal(1000))),
    **dict.fromkeys(("min", "mins", "minute", "minutes", "minuten"), ("time", Decimal(60_000))),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "stunden"), ("time", Decimal(3_600_000))),
    **dict.fromkeys(("day", "days", "tage"), ("time", Decimal(86_400_000))),
    **dict.fromkeys(("week", "weeks", "wochen"), ("time", Decimal(604_800_000))),
    **dict.fromkeys(("mm", "millimetre", "millimeter", "millimetres", "millimeters"), ("length", Decimal(1))),
    **dict.fromkeys(("cm", "centimetre", "centimeter", "centimetres", "centimeters"), ("length", Decimal(10))),
    **dict.fromkeys(("m", "metre", "meter", "metres", "meters"), ("length", Decimal(1000))),
    **dict.fromkeys(("km", "kilometre", "kilometer", "kilometres", "kilometers"), ("length", Decimal(1_000_000))),
    **dict.fromkeys(("mg", "milligram", "milligrams"), ("mass", Decimal(1))),
    **dict.fromkeys(("g", "gram", "grams", "gramm"), ("mass", Decimal(1000))),
    **dict.fromkeys(("kg", "kilo", "kilos", "kilogram", "kilograms"), ("mass", Decimal(1_000_000))),
    **{word: (f"{word} alone", Decimal(1)) for word in _NOT_CONVERTED},
}
_UP_TO_TWELVE = "zero one two three four five six seven eight nine ten eleven twelve"
_UP_TO_NINETEEN = f"{_UP_TO_TWELVE} thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_BY_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS: Mapping[str, int] = {
    **{word: at for at, word in enumerate(_UP_TO_NINETEEN.split())},
    **{word: 10 * at for at, word in enumerate(_BY_TENS.split(), 2)},
}
_TENS = "|".join(word for word, value in _WORDS.items() if value >= 20)
_ONES = "|".join(word for word, value in _WORDS.items() if 1 <= value <= 9)


def _either(words: Mapping[str, object] | frozenset[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_SIGN = "[-−+]"
_GAP = r"[\u0020\u00a0\u202f\u2009]"
_BLANK = r"[\s\u00a0\u202f\u2009]{1,3}"
_DIGITS = r"(?:\d{1,3}(?:[,.'’\u00a0\u202f\u2009]\d{3})+(?!\d)|\d{1,2}(?:,\d{2})+,\d{3}(?!\d)|\d+)(?:[.,]\d+)?|[.]\d+"
# What may be a number, found fast; then what stands before it, and behind it.
_SPOT = re.compile(
    rf"(?P<digits>{_DIGITS})(?![\d'’]|[.,]\d)|(?P<joined>\d[\d.,'’]*)"
    rf"|\b(?=[efnostz])(?P<word>(?:{_TENS})[-\ ](?:{_ONES})|{_either(_WORDS)})(?!\w)",
    re.IGNORECASE,
)
_BEFORE = re.compile(
    rf"""
    (?:(?<![\w.,)\]])(?P<sign>{_SIGN}){_GAP}?)?
    (?:(?<![^\W\d_])(?P<currency>{_either(_CURRENCIES)}){_GAP}?(?P<inner>{_SIGN})?)?\Z
    """,
    re.VERBOSE | re.IGNORECASE,
)
_NOTHING_BEFORE = re.compile(r"(?:^|[^\w.,)\]$€£¥₹₩₽元円+−-])[^\W\d_]{4,}\s\Z")
_BEHIND = re.compile(
    rf"""
    (?P<scale>(?:{_BLANK}|-)?(?:{_either(_SCALES)})\.?(?![^\W\d_]) | {_GAP}?[万萬亿億] | {_GAP}?[mbt](?!\w))?
    (?:{_GAP}?-?(?P<behind>%|％|€|£|[$](?!\d)|¥|₹|₩|₽|元|円|(?:{_either(_CURRENCIES)}|{_either(_PERCENT)}
      |{_either(_UNITS)})(?!\w)))?
    """,
    re.VERBOSE | re.IGNORECASE,
)
# So far before a number its sign and currency may begin.
_PREFIX = 12
# Letters behind which a number may begin: those of East Asia, and of a currency.
_LETTER_BEFORE = re.compile(r"(?:[\u3041-\u9fff]|[$€£¥₹₩₽])\Z")
_GLUED = re.compile(r"(?![\u3041-\u9fff])\w|[-–/:](?=\d)|[.,](?=\d)")
_UNSURE_COMMA = re.compile(r"\d{1,3},\d{3}")
_UNSURE_POINT = re.compile(r"\d{1,3}\.\d{3}")
# "minus 5" and "- 5" with a long dash may be below zero.
_MAYBE_NEGATIVE = re.compile(r"(?:\bminus|(?:^|[\s:;(])[–—])[\s\u00a0\u202f\u2009]{1,3}\Z", re.IGNORECASE)
# "Two hundred fifty" is one number, which is not read.
_PART_BEFORE = re.compile(r"\b(?:hundred|thousand|million|billion)[\s-](?:and\s)?\Z", re.IGNORECASE)
_PART_BEHIND = re.compile(
    rf"(?<=hundred|housand|million|billion)[\s-](?:and\s)?(?:{_either(_WORDS)})(?!\w)", re.IGNORECASE
)
_NUMBER_FOLLOWS = re.compile(r"[\s\u00a0\u202f\u2009]{0,3}\D\s?\d")
_BLANKS = " \t\r\n\u00a0\u202f\u2009"
_SPACES = str.maketrans("", "", "'’\u00a0\u202f\u2009")


@dataclass(frozen=True, slots=True)
class Mention:
    """A number as it stands in a text: characters `start` to `end` (exclusive); no `number` where it reads two ways."""

    start: int
    end: int
    number: Decimal | None
    scale: Decimal | None = None
    # "million" and not "m": sure without a currency.
    scale_is_sure: bool = True
    currency: str = ""
    percent: bool = False
    unit: str = ""
    # Something beside it is not understood.
    unsure: bool = False


@dataclass(frozen=True, slots=True)
class Unit:
    """What a column's unit says: its scale, and a currency, a measure, or percent."""

    scale: Decimal = Decimal(1)
    currency: str = ""
    percent: bool = False
    measure: str = ""


@lru_cache(maxsize=16)
def mentions(text: str, decimal_point: bool | None) -> tuple[Mention, ...]:
    """The numbers of a text; parts of dates, times, ranges and names are none."""
    return tuple(_mentions(text, decimal_point))


def _mentions(text: str, decimal_point: bool | None) -> Iterator[Mention]:
    for spot in _SPOT.finditer(text):
        if not spot["joined"] and (mention := _mention(text, spot, decimal_point)) is not None:
            yield mention


def _mention(text: str, spot: re.Match[str], decimal_point: bool | None) -> Mention | None:
    """The number with what stands around it; None where it is a part of something else."""
    start = spot.start()
    before = _before(text, start)
    own = before["currency"] if before is not None else None
    if not own and start and _is_inside(text, start):
        return None
    around = _BEHIND.match(text, spot.end())
    assert around is not None  # it matches nothing, too
    if _GLUED.match(text, around.end()):
        return None
    scale_word = (around["scale"] or "").strip(" \t\r\n\f\v\u00a0\u202f\u2009.-").lower()
    behind = (around["behind"] or "").lower()
    currency = _CURRENCIES.get((own or "").lower()) or _CURRENCIES.get(behind, "")
    if decimal_point is None:
        decimal_point = _decimal_point_beside(scale_word, currency)
    number = _number(spot["digits"], decimal_point) if spot["digits"] else _worded(spot["word"])
    if number is not None and before is not None and _is_negative(before):
        number = -number
    return Mention(
        before.start() + max(0, start - _PREFIX) if before is not None else start,
        around.end(),
        number,
        _SCALES.get(scale_word) or _LETTERS.get(scale_word),
        scale_word not in _LETTERS,
        currency,
        behind in _PERCENT,
        "m" if scale_word == "m" else behind if behind in _UNITS else "",
        not own and _is_unsure(text, start, around.end()),
    )


def _before(text: str, start: int) -> re.Match[str] | None:
    """The sign and the currency before a number; None where there is neither."""
    prefix = text[max(0, start - _PREFIX) : start]
    if not prefix or _NOTHING_BEFORE.search(prefix):
        return None
    found = _BEFORE.search(prefix)
    return found if found is not None and (found["sign"] or found["currency"]) else None


def _is_inside(text: str, start: int) -> bool:
    """Whether what stands before a number makes it a part of a word, a date, a time or a range."""
    before = text[start - 1]
    if before in "-–−/:.," or before.isalnum() or before == "_":
        joined = before not in "-–−" or (start > 1 and text[start - 2].isdigit())
        return joined and not _LETTER_BEFORE.search(text[start - 1 : start])
    return False


def _is_unsure(text: str, start: int, end: int) -> bool:
    """Whether a sign beside a number says something of it that is not understood: its sign, or its currency."""
    before, behind = text[max(0, start - _PREFIX) : start], text[end : end + 3]
    if _MAYBE_NEGATIVE.search(before) or (before.endswith("(") and behind.startswith(")")):
        return True
    if _PART_BEFORE.search(text[max(0, start - 16) : start]) or _PART_BEHIND.match(text, end):
        return True
    shown = before.rstrip(_BLANKS)[-1:], behind.lstrip(_BLANKS)[:1]
    number_follows = _NUMBER_FOLLOWS.match(text, end) is not None
    return _is_currency(shown[0]) or (_is_currency(shown[1]) and not number_follows)


def _is_currency(sign: str) -> bool:
    return bool(sign) and category(sign) == "Sc"


def _is_negative(before: re.Match[str]) -> bool:
    return bool({before["sign"], before["inner"]} & {"-", "−"})


def _decimal_point_beside(scale: str, currency: str) -> bool | None:
    """What the language of a scale, or a currency's country, says of the sign before decimals."""
    if scale in _ENGLISH_SCALES or currency in {"$", "USD", "GBP"}:
        return True
    return False if scale in _GERMAN_SCALES else None


def _number(digits: str, decimal_point: bool | None) -> Decimal | None:
    """The number that is written, None where "1,234" may be either; `decimal_point`: 1.5 is one and a half."""
    plain = digits.translate(_SPACES)
    points, commas = plain.count("."), plain.count(",")
    if not points and not commas:
        return Decimal(plain)
    if points and commas:
        decimal, thousands = (".", ",") if plain.rfind(".") > plain.rfind(",") else (",", ".")
        return Decimal(plain.replace(thousands, "").replace(decimal, ".")) if plain.count(decimal) == 1 else None
    if points > 1 or commas > 1:
        return Decimal(plain.replace(".", "").replace(",", ""))
    unsure = (_UNSURE_COMMA if commas else _UNSURE_POINT).fullmatch(plain) and not plain.startswith("0")
    if unsure and decimal_point is None:
        return None
    sign = "," if commas else "."
    is_decimal = (sign == ".") == decimal_point if unsure else True
    return Decimal(plain.replace(sign, "." if is_decimal else ""))


def _worded(word: str) -> Decimal:
    return Decimal(sum(_WORDS[part] for part in re.split(r"[-\s]", word.lower())))


def decimal_point_of(text: str) -> bool | None:
    """Whether a text writes 1.5 for one and a half; None where it shows neither or both."""
    shown: set[bool] = set()
    for spot in _SPOT.finditer(text):
        digits = (spot["digits"] or "").translate(_SPACES)
        sign = "" if digits.isdigit() or len(shown) > 1 else _surely_decimal(digits)
        if sign and _mention(text, spot, None) is not None:
            shown.add(sign == ".")
    return shown.pop() if len(shown) == 1 else None


def _surely_decimal(digits: str) -> str:
    """The sign before the decimals of a number that can be read in one way only; empty where it cannot."""
    points, commas = digits.count("."), digits.count(",")
    if points and commas:
        return "." if digits.rfind(".") > digits.rfind(",") else ","
    if points > 1 or commas > 1:
        return "," if points > 1 else "."
    sign = "." if points else "," if commas else ""
    return sign if sign and not (_UNSURE_COMMA.fullmatch(digits) or _UNSURE_POINT.fullmatch(digits)) else ""


def unit_in_name(name: str) -> str:
    """The unit that a column's name tells, as in `price_usd` or `waiting_minutes`; empty where it tells none."""
    words = re.findall(r"[^\W\d_]+|%", name.lower())
    known = [word for word in words if len(word) > 3 or word in _CURRENCIES or word in _PERCENT]
    return " ".join(word for word in known if word in {*_UNITS, *_CURRENCIES, *_PERCENT})


@lru_cache(maxsize=64)
def unit_of(text: str) -> Unit:
    """What a column's unit says; a word that is not known is a measure of its own."""
    scale, currency, percent, measure = Decimal(1), "", False, ""
    for word in re.findall(r"[^\s()]+", text.lower()):
        plain = word.strip(".,")
        if plain in _PERCENT:
            percent = True
        elif plain in _CURRENCIES:
            currency = _CURRENCIES[plain]
        elif plain in _SCALES:
            scale *= _SCALES[plain]
        elif plain not in {"in", "of", "per", "number"}:
            measure = plain
    return Unit(scale, currency, percent, measure)


def in_unit(mention: Mention, unit: Unit) -> Decimal | None:
    """The number in a column's unit; None where the two are not of one kind, or it is not sure that they are."""
    if (
        mention.unsure
        or mention.number is None
        or not _same_money(mention, unit)
        or (mention.percent and not unit.percent)
    ):
        return None
    if unit.currency and mention.unit in _NOT_CONVERTED:
        return None
    ratio = _money_ratio(mention, unit) if mention.currency else _plain_ratio(mention, unit)
    if ratio is None:
        return None
    if within_digits(mention.number) is None:
        return None
    times, parts = ratio
    value = _EXACT.divide(_EXACT.multiply(mention.number, times), parts)
    exact = _EXACT.multiply(value, parts) == _EXACT.multiply(mention.number, times)
    return within_digits(value) if exact else None


def _money_ratio(mention: Mention, unit: Unit) -> tuple[Decimal, Decimal] | None:
    if mention.unit not in {"", "m"}:
        return None
    scale = mention.scale if mention.scale is not None else _MILLION if mention.unit else None
    return (scale, unit.scale) if scale is not None else (_ONE, _ONE)


def _plain_ratio(mention: Mention, unit: Unit) -> tuple[Decimal, Decimal] | None:
    scale = (_ONE, _ONE) if mention.scale is None else (mention.scale, unit.scale)
    if not mention.scale_is_sure:
        # "5m" is five million of a currency, five metres of a length, and nothing sure elsewhere.
        if unit.currency:
            return scale
        scale = (_ONE, _ONE)
    if not mention.unit:
        return scale if mention.scale_is_sure else None
    if mention.unit.rstrip("s") == unit.measure.rstrip("s") or (mention.unit in _NOT_CONVERTED and unit == Unit()):
        return scale
    kind, size = _UNITS[mention.unit]
    other, base = _UNITS.get(unit.measure, ("", _ONE))
    return (scale[0] * size, scale[1] * base) if kind == other else None


def within_digits(number: Decimal) -> Decimal | None:
    """A number of so few digits that a double tells it from all others; None for longer ones."""
    # Counted before anything is rounded.
    digits = "".join(map(str, number.as_tuple().digits)).strip("0")
    plain = number.normalize(_EXACT)
    if len(digits) > MAX_DIGITS or abs(plain.adjusted()) > 290:
        return None
    return plain


def _same_money(mention: Mention, unit: Unit) -> bool:
    own = mention.currency
    if not own or own == unit.currency:
        return True
    if not unit.currency:
        return False
    return unit.currency in _SHARED.get(own, ()) or (own, unit.currency) == ("USD", "$")
