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

MAX_DIGITS = 15
_ONE = Decimal(1)
_EXACT = Context(prec=40)
_THOUSAND, _MILLION, _BILLION, _TRILLION = (Decimal(10) ** power for power in (3, 6, 9, 12))
_SCALES: Mapping[str, Decimal] = {
    **dict.fromkeys(("thousand", "thousands", "k", "tsd", "tausend"), _THOUSAND),
    **dict.fromkeys(("million", "millions", "mn", "mio", "millionen", "millones", "milioni"), _MILLION),
    **dict.fromkeys(("billion", "billions", "bn", "milliarde", "milliarden", "mrd", "milliard", "milliards"), _BILLION),
    **dict.fromkeys(("trillion", "trillions", "tn", "billionen"), _TRILLION),
    "hundred": Decimal(100),
    "dozen": Decimal(12),
    "lakh": Decimal(10) ** 5,
    "crore": Decimal(10) ** 7,
    "万": Decimal(10) ** 4,
    "萬": Decimal(10) ** 4,
    "亿": Decimal(10) ** 8,
    "億": Decimal(10) ** 8,
}
_ENGLISH_SCALES = frozenset(("thousand", "million", "billion", "trillion", "bn", "hundred", "lakh", "crore"))
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
_DIGITS = r"(?:\d{1,3}(?:[,.'’\u00a0\u202f\u2009]\d{3})+(?!\d)|\d{1,2}(?:,\d{2})+,\d{3}(?!\d)|\d+)(?:[.,]\d+)?|[.]\d+"
_MENTION = re.compile(
    rf"""
    (?P<sign>(?<![\w.,)\]]){_SIGN}{_GAP}?(?=[\d.$€£¥₹₩₽]|us\$))?
    (?:(?P<before>(?<![^\W\d_]){_either(_CURRENCIES)}){_GAP}?(?P<inner>{_SIGN})?)?
    (?:(?<![\w.,/:]) | (?<=[$€£¥₹₩₽元円]) | (?<=usd|eur|gbp|chf|jpy|cny|inr|cad|aud) | (?<=[\u3041-\u9fff]))
    (?:(?P<digits>{_DIGITS})|(?P<word>(?:{_TENS})[-\ ](?:{_ONES})|{_either(_WORDS)})(?!\w))
    (?![\d'’]|[.,]\d)
    (?P<scale>{_GAP}?(?:{_either(_SCALES)})\.?(?![^\W\d_]) | {_GAP}?[万萬亿億] | [mbt](?!\w))?
    (?:{_GAP}?-?(?P<behind>%|％|€|£|[$](?!\d)|¥|₹|₩|₽|元|円|(?:{_either(_CURRENCIES)}|{_either(_PERCENT)}
      |{_either(_UNITS)})(?!\w)))?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_GLUED = re.compile(r"(?![\u3041-\u9fff])\w|[-–/:](?=\d)|[.,](?=\d)")
_UNSURE_COMMA = re.compile(r"\d{1,3},\d{3}")
_UNSURE_POINT = re.compile(r"\d{1,3}\.\d{3}")
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


@dataclass(frozen=True, slots=True)
class Unit:
    """What a column's unit says: its scale, and a currency, a measure, or percent."""

    scale: Decimal = Decimal(1)
    currency: str = ""
    percent: bool = False
    measure: str = ""


def mentions(text: str, decimal_point: bool | None) -> Iterator[Mention]:
    """The numbers of a text; parts of dates, times, ranges and names are none."""
    for found in _MENTION.finditer(text):
        mention = _mention(found, decimal_point)
        if _stands_alone(text, found, mention):
            yield mention


def _stands_alone(text: str, found: re.Match[str], mention: Mention) -> bool:
    start = found.start("digits" if found["digits"] else "word")
    joined = start and text[start - 1] in "-–−/:" and start > 1 and text[start - 2].isdigit()
    return not joined and not _GLUED.match(text, mention.end)


def _mention(found: re.Match[str], decimal_point: bool | None) -> Mention:
    scale_word = (found["scale"] or "").strip().strip("\u00a0\u202f\u2009.").lower()
    behind = (found["behind"] or "").lower()
    currency = _CURRENCIES.get((found["before"] or "").lower()) or _CURRENCIES.get(behind, "")
    if decimal_point is None:
        decimal_point = _decimal_point_beside(scale_word, currency)
    number = _number(found["digits"], decimal_point) if found["digits"] else _worded(found["word"])
    if number is not None and "-" in (found["sign"] or "").replace("−", "-") + (found["inner"] or "").replace("−", "-"):
        number = -number
    return Mention(
        found.start(),
        found.end(),
        number,
        _SCALES.get(scale_word) or _LETTERS.get(scale_word),
        scale_word not in _LETTERS,
        currency,
        behind in _PERCENT,
        "m" if scale_word == "m" else behind if behind in _UNITS else "",
    )


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
    for found in _MENTION.finditer(text):
        digits = (found["digits"] or "").translate(_SPACES)
        if (sign := _surely_decimal(digits)) and _stands_alone(text, found, _mention(found, None)):
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
    if mention.number is None or not _same_money(mention, unit) or (mention.percent and not unit.percent):
        return None
    ratio = _money_ratio(mention, unit) if mention.currency else _plain_ratio(mention, unit)
    if ratio is None:
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
    kind, size = _UNITS[mention.unit]
    other, base = _UNITS.get(unit.measure, ("", _ONE))
    return (scale[0] * size, scale[1] * base) if kind == other else None


def within_digits(number: Decimal) -> Decimal | None:
    """A number of so few digits that a double tells it from all others; None for longer ones."""
    plain = number.normalize(_EXACT)
    if len(plain.as_tuple().digits) > MAX_DIGITS or abs(plain.adjusted()) > 290:
        return None
    return plain


def _same_money(mention: Mention, unit: Unit) -> bool:
    own = mention.currency
    if not own or own == unit.currency:
        return True
    if not unit.currency:
        return False
    return unit.currency in _SHARED.get(own, ()) or (own, unit.currency) == ("USD", "$")
