"""How the scripted model answers: a rule makes a reply of a call, or None where it has nothing to say."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from scripts.local.scripted.calls import ChatCall, Reply

Rule: TypeAlias = Callable[[ChatCall], Reply | str | None]

# The needle of RULER's niah_single task (github.com/NVIDIA/RULER).
NEEDLE = r"One of the special magic \w+ for (?P<key>.+?) is: (?P<value>.+?)\."
NOTHING_FOUND = "The text does not hold the answer."


def needle(pattern: str = NEEDLE) -> Rule:
    """Quotes every sentence that `pattern` finds; with a group `key`, those only whose key the question names.

    Where there is none it replies as the prompt asks to: NONE where the prompt has that word, else a sentence.
    """
    compiled = re.compile(pattern)

    def answer(call: ChatCall) -> str:
        found = list(compiled.finditer(call.text))
        if "key" in compiled.groupindex:
            rest = compiled.sub("", call.text)
            found = [match for match in found if match["key"] in rest]
        quoted = dict.fromkeys(match[0] for match in found)
        return "\n".join(quoted) or nothing_found(call)

    return answer


def counter(pattern: str) -> Rule:
    """Counts what `pattern` finds in the prompt and adds the counts (`count: N`) that are already noted in it."""
    compiled = re.compile(pattern)

    def answer(call: ChatCall) -> str:
        noted = sum(int(number) for number in re.findall(r"count: (\d+)", call.text))
        return f"count: {len(compiled.findall(call.text)) + noted}"

    return answer


def echo() -> Rule:
    """Repeats the user's last message."""
    return lambda call: call.user


def fixed(content: object) -> Rule:
    """Always the same, whatever its type."""
    return lambda _call: Reply(content)


def sequence(contents: Sequence[object]) -> Rule:
    """One reply after the other, then the last one for ever."""
    remaining = list(contents)

    def answer(_call: ChatCall) -> Reply:
        return Reply(remaining.pop(0) if len(remaining) > 1 else remaining[0])

    return answer


def when(pattern: str, rule: Rule) -> Rule:
    """The rule, for prompts only in which `pattern` is found."""
    compiled = re.compile(pattern)
    return lambda call: rule(call) if compiled.search(call.text) else None


def for_model(model: str, rule: Rule) -> Rule:
    """The rule, for one model id only."""
    return lambda call: rule(call) if call.model == model else None


def nothing_found(call: ChatCall) -> str:
    """What a model says when it found nothing: the word that the prompt asks for."""
    return "NONE" if "NONE" in call.text else NOTHING_FOUND


def rule_from_json(spec: Mapping[str, object]) -> Rule:
    """The rule that `/control` is given; ValueError where it is not of that form.

    {"kind": needle|counter|echo|fixed|sequence, "pattern"|"content"|"contents"}, and to restrict it "when" (a pattern)
    or "model" (an id).
    """
    rule = _plain_rule(spec)
    if "when" in spec:
        rule = when(str(spec["when"]), rule)
    return for_model(str(spec["model"]), rule) if "model" in spec else rule


def _plain_rule(spec: Mapping[str, object]) -> Rule:
    match spec:
        case {"kind": "needle"}:
            return needle(str(spec.get("pattern", NEEDLE)))
        case {"kind": "counter", "pattern": str(pattern)}:
            return counter(pattern)
        case {"kind": "echo"}:
            return echo()
        case {"kind": "fixed", "content": content}:
            return fixed(content)
        case {"kind": "sequence", "contents": [_, *_] as contents}:
            return sequence(contents)
    raise ValueError(f"not a rule: {dict(spec)}")
