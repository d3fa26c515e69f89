"""Code blocks as models write them."""

from __future__ import annotations

import pytest

from rlm_worker.fences import code_of, fenced_blocks, python_blocks

TOOLS = ("FINAL", "print", "llm_query")


@pytest.mark.parametrize("label", ["repl", "python", "py", "Python", "python3", ""])
def test_labels_are_accepted(label: str) -> None:
    assert python_blocks(f"Let me look.\n```{label}\nx = 1\n```\nDone.") == ["x = 1"]


@pytest.mark.parametrize("label", ["json", "text", "output", "bash", "sql"])
def test_other_languages_stay(label: str) -> None:
    assert python_blocks(f"```{label}\nx = 1\n```") == []


def test_bare_prose_is_no_code() -> None:
    assert python_blocks("```\nThe answer is probably 42, I think.\n```") == []


def test_fence_inside_string_stays() -> None:
    code = 'report = """\n```json\n{}\n```\n"""\nprint(report)'
    assert python_blocks(f"```python\n{code}\n```\nThat is all.") == [code]


def test_fence_inside_fstring_stays() -> None:
    code = "report = f'''\n```\n{1 + 1}\n```\n'''"
    assert python_blocks(f"```repl\n{code}\n```") == [code]


def test_broken_code_still_ends() -> None:
    assert python_blocks("```python\nx = (1\n```\nand\n```python\ny = 2\n```") == ["x = (1", "y = 2"]


def test_never_closed_string_ends_at_fence() -> None:
    assert python_blocks('```python\nx = """abc\n```\nprose') == ['x = """abc']


def test_longer_fence_holds_shorter() -> None:
    assert python_blocks("````python\nx = 1\n# ```\n````") == ["x = 1\n# ```"]


def test_tildes_are_fences() -> None:
    assert python_blocks("~~~python\nx = 1\n~~~") == ["x = 1"]


def test_cut_reply_keeps_code() -> None:
    (block,) = fenced_blocks("```python\nx = 1\ny = 2")
    assert (block.code, block.closed) == ("x = 1\ny = 2", False)


def test_blocks_run_in_order() -> None:
    assert code_of("```python\nx = 1\n```\nthen\n```python\nprint(x)\n```", TOOLS) == "x = 1\n\nprint(x)"


def test_final_in_prose_is_prose() -> None:
    assert code_of("The answer is FINAL(42 (as the text says)).", TOOLS) is None
    assert code_of("FINAL(The answer is 42)", TOOLS) is None


def test_unfenced_call_is_code() -> None:
    assert code_of('FINAL("42 (as the text says)")', TOOLS) == 'FINAL("42 (as the text says)")'


def test_single_word_is_prose() -> None:
    assert code_of("done", TOOLS) is None


def test_inline_code_is_prose() -> None:
    assert code_of("Use ```x = 1``` in your code.", TOOLS) is None


def test_windows_line_ends() -> None:
    assert python_blocks("```python\r\nx = 1\r\n```\r\n") == ["x = 1"]
