# ruff: noqa: RUF001  the stops and commas of other scripts are meant
"""Where a text may be cut: the best place before a limit, found by what stands around it and not by its position."""

from __future__ import annotations

import re
from zlib import crc32

from .graphemes import first_boundary, is_boundary, last_boundary

# Characters behind the limit that a decision looks at: a heading's whole line, or the rest of a cluster.
LOOKAHEAD = 96
# A cluster longer than the limit is kept whole as far as this; beyond it is no longer text but an attack on memory.
MAX_CLUSTER = 1 << 16

# Characters that identify a place. Among places of one class the one whose fingerprint is smallest is taken, not the
# last: after an edit, two texts that are the same again are also cut the same again within a chunk or two.
_FINGERPRINT = 48
# In chunks larger than this, a heading is worth going further back than a paragraph is.
_LARGE = 16_000
# Weak boundaries are plentiful; these many characters before the limit hold enough of them to choose from.
_PARAGRAPH_REACH, _SENTENCE_REACH, _LINE_REACH = 3000, 1500, 600

# Of the lines of a list of records hardly any begins with a small letter.
_WRAPPED_SHARE = 0.25

# Two paragraphs are parted by a blank line, or by a closing bracket at the margin with the next line at the margin too.
_GAP = r"\n(?:(?:[\ \t\r]*+\n)++|[\])}]{1,3};?[\ \t\r]*\n(?=[^\s\])}]))"
# The usual gap between paragraphs. Two literals to begin with let the engine skip all other lines, three times as fast
# as trying each. Of a desert of blank lines it takes a few at a time: to try all of it from each of its lines would
# cost the square of its length.
_BLANK_LINE = r"\n\n(?:[\ \t\r]*+\n){0,8}+"
# One alternative per kind of first character: the engine must reject most paragraphs at a glance.
_HEADING = r"""
    (?P<hashes>\#{1,6})[\ \t]+\S
  | (?=[a-z])
    (?:(?:export|default|declare|pub(?:\([^)\n]{0,40}\))?|public|private|protected|internal|abstract|final|static|async
      |unsafe|inline|extern)\ )*+
    (?:def|class|function|func|fn|fun|struct|enum|trait|impl|interface|type|union|mod|module|namespace|package|object
      |record|protocol|extension|macro_rules!|template|typedef|const|let|var|static|void|int|char|long|unsigned|double
      |bool)\b(?=[\ \t<(*&:])
  | (?=[=*<\\/@"'\#])
    (?:={1,6}\ \S|\*{1,6}\ \S|<[hH][1-6][\ >]|\\(?:part|chapter|(?:sub)*section)\b|@[\w.]+|//|/\*|<!--|"{3}|'{3}
      |\#(?:include|define|ifdef|ifndef|if|pragma|region)\b)
  | (?=[A-Z第])
    (?:(?:[Cc]hapter|CHAPTER|PART|Book|BOOK|Article|ARTICLE|Section|SECTION|ACT|SCENE)\ [\dIVXLC]+
      |(?:CREATE|ALTER)\b|第[一二三四五六七八九十百千零〇\d]{1,6}[章节節部回卷編编])
  | [A-Za-z_][\w\ \t*&:<>,~]{0,100}+\([^;{}\n]{0,200}\)[\w\ \t]{0,40}+\r?\n?\{
  | [^\n]{1,80}+\n(?P<underline>[=\-~*^"+#])(?P=underline){2,}[ \t]*\r?\n
"""
_PARAGRAPH = r"(?P<indent>[\ \t]++)"
_HEADINGS = re.compile(rf"{_BLANK_LINE}(?={_HEADING})", re.VERBOSE)
_BLOCKS = re.compile(rf"{_BLANK_LINE}(?={_PARAGRAPH}|{_HEADING}|(?P<margin>))", re.VERBOSE)
_ALL_BLOCKS = re.compile(rf"{_GAP}(?={_PARAGRAPH}|{_HEADING}|(?P<margin>))", re.VERBOSE)
# Levels, the smallest first: `#` to `######`, of which headings without hashes and definitions equal the second; then
# paragraphs, those that are indented least.
_SECTION, _HIGHEST_PARAGRAPH = 2, 7
_NO_LEVEL = 1 << 30

_ABBREVIATIONS = """
    Mr Mrs Ms Dr Prof St Jr Sr vs etc cf al Inc Ltd Co Corp Fig Figs Eq Eqs No Nos Vol Ch Sec pp Art approx dept est
    Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec Gen Col Lt Sgt Capt Rev Hon Gov Sen Rep e.g i.e a.m p.m U.S U.K
    z.B d.h bzw Nr Abs usw p.ex M Mme Mlle Sra
"""
_NOT_AFTER = "".join(rf"(?<!\b{re.escape(word)}\.)" for word in _ABBREVIATIONS.split())
# Latin stops need a blank behind them, and no small letter next; initials and the numbers of a list are no sentences.
_SENTENCE = re.compile(
    rf"""
    [.!?…。！？．｡।॥؟۔։]
    (?:(?<=[.!?…])(?=[\s"'”’»)\]*_`])(?<!\b[A-Z]\.)(?<!\n\d\.)(?<!\n\d\d\.){_NOT_AFTER}
       ["'”’»)\]*_`]*+(?=\s)\s*+(?![a-zß-öø-ÿ])
      |(?<![.!?…])(?![。！？…])["'”’»）」』】》〉\])]*+\s*+)
    ()""",
    re.VERBOSE,
)
_LINE = re.compile(r"(?:\n|\r(?!\n)|[\x0b\x0c\x85\u2028\u2029])(?=([ \t]*))")
# Greedy, so that the engine walks back from the limit to the last blank or East Asian comma.
_WORD = re.compile(r".*[\s、，；：・]", re.DOTALL)

_BLANK = re.compile(r"\s++(?=\S)")


def find_cut(window: str, high: int, span: int) -> int:
    """The best place to cut `window`, at most `high` characters in; 0 when its first cluster is longer than that.

    `window` begins where a chunk may end (at a cluster) and shows `LOOKAHEAD` characters behind `high`, or all there
    are. `span` is the size of the whole chunk if cut at `high`; how far back a class of boundary is looked for is a
    share of it. Classes, best first: heading or definition at the margin, paragraph, sentence, line, word, cluster.
    """
    if high < 1:
        return 0
    half = max(1, high - span // 2)
    plenty = max(1, high - min(span // 4, _PARAGRAPH_REACH))
    return (
        (span > _LARGE and _block_cut(_HEADINGS, window, max(1, high - span // 3), high))
        or _block_cut(_BLOCKS, window, plenty, high)
        or ("\r\n" in window and _block_cut(_ALL_BLOCKS, window, plenty, high))
        or _block_cut(_ALL_BLOCKS, window, half, high)
        or _place(_SENTENCE, window, max(1, high - min(span // 4, _SENTENCE_REACH)), high)
        or _place(_SENTENCE, window, half, high)
        or _block_cut(_ALL_BLOCKS, window, max(1, high - span * 15 // 16), half)
        or _place(_LINE, window, max(1, high - min(span // 16, _LINE_REACH)), high)
        or _place(_LINE, window, half, high)
        or _word_cut(window, half, high)
        or last_boundary(window, 1, high)
    )


def find_row_cut(window: str, high: int, span: int) -> int:
    """As `find_cut`, for texts that are lists of records: between two of them, never within a line that is one.

    Records are parted by blank lines, or each has its line. Lines of which many begin with a small letter are prose
    that was broken to fit a page.
    """
    half = max(1, high - span // 2)
    if cut := _block_cut(_ALL_BLOCKS, window, half, high):
        return cut
    begins = [window[found.end()] for found in _LINE.finditer(window, half - 1, high) if found.end() < len(window)]
    wrapped = sum(begin.islower() for begin in begins) > len(begins) * _WRAPPED_SHARE
    return (not wrapped and _place(_LINE, window, half, high)) or find_cut(window, high, span)


def forced_cut(window: str, high: int, *, complete: bool) -> int:
    """The end of the cluster that crosses `high`, or 0 when more text is needed to see it."""
    limit = high + MAX_CLUSTER
    # The last place of an unfinished window is undecided: what comes next may belong to the same cluster.
    seen = len(window) if complete else len(window) - 1
    return first_boundary(window, max(high, 1), min(seen, limit)) or (limit if len(window) >= limit else 0)


def fingerprint(text: str) -> int:
    """A number in 0…2³²-1 that is the same in every process, for choosing by content."""
    return crc32(text.encode())


def repeated_tail(text: str, reach: int) -> str:
    """The end of `text`, at most `reach` characters, from the beginning of a word if there is one."""
    if len(text) <= reach:
        return text
    low = len(text) - reach
    blank = _BLANK.search(text, low)
    start = blank.end() if blank else low
    return text[first_boundary(text, start, len(text)) :]


def _block_cut(pattern: re.Pattern[str], window: str, low: int, high: int) -> int:
    """Where the best heading or paragraph in `low`…`high` begins; 0 if none does.

    What these patterns find begins behind a line's end, where no cluster is cut.
    """
    best, best_level, best_mark = 0, _NO_LEVEL, 0
    for match in pattern.finditer(window, low - 1, high + LOOKAHEAD):
        cut = match.end()
        if cut > high:
            break
        kind = match.lastgroup
        if kind == "indent":
            level = _HIGHEST_PARAGRAPH + match.end(match.lastindex or 0) - cut
        elif kind == "margin":
            level = _HIGHEST_PARAGRAPH
        else:
            level = match.end(match.lastindex or 0) - cut if kind == "hashes" else _SECTION
        if level <= best_level:
            mark = crc32(window[cut : cut + _FINGERPRINT].encode())
            if level < best_level or mark <= best_mark:
                best, best_level, best_mark = cut, level, mark
    return best


def _place(pattern: re.Pattern[str], window: str, low: int, high: int) -> int:
    """The best cut in `low`…`high` behind what `pattern` finds; its group 1 is an indentation, the less the better."""
    best, best_key = 0, (_NO_LEVEL, 0)
    for match in pattern.finditer(window, low - 1, high + LOOKAHEAD):
        cut = match.end()
        if cut > high:
            break
        key = (match.end(1) - cut, crc32(window[cut : cut + _FINGERPRINT].encode()))
        if key <= best_key and (window[cut] < "\x80" or is_boundary(window, cut)):
            best, best_key = cut, key
    return best


def _word_cut(window: str, low: int, high: int) -> int:
    end = high
    while match := _WORD.match(window, low - 1, end):
        if is_boundary(window, match.end()):
            return match.end()
        end = match.end() - 1
    return 0
