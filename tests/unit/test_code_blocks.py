"""Code blocks as models write them."""

from __future__ import annotations

import pytest

from rlm_worker.repl.code_blocks import code_of, fenced_blocks, python_blocks

TOOLS = ("FINAL", "print", "llm_query")


@pytest.mark.parametrize("label", ["repl", "python", "py", "Python", "python3", ""])
def test_labels_are_accepted(label: str) -> None:
    assert python_blocks(f"Let me look.\n```{label}\nx = 1\n```\nDone.") == ["x = 1"]


@pytest.mark.parametrize("label", ["json", "text", "output", "bash", "sql"])
def test_other_languages_stay(label: str) -> None:
    assert python_blocks(f"```{label}\nx = 1\n```") == []


def test_labelled_blocks_come_first() -> None:
    assert python_blocks("```python\nprint(1)\n```\nOutput:\n```\n1\n```") == ["print(1)"]


def test_quotes_in_comments_are_none() -> None:
    assert python_blocks("```python\n# say \"\"\" and '''\nx = 1\n```\n```python\ny = 2\n```") == [
        "# say \"\"\" and '''\nx = 1",
        "y = 2",
    ]


def test_quotes_in_strings_are_none() -> None:
    code = "x = 'it \\' \"\"\" is'"
    assert python_blocks(f"```python\n{code}\n```\n```python\ny = 2\n```") == [code, "y = 2"]


@pytest.mark.parametrize("text", ["```" + "a" * 200_000 + "`", "`" * 200_000, "(" * 200_000, "x" + ".a" * 100_000])
def test_long_lines_take_no_time(text: str) -> None:
    assert python_blocks(text + "\n```python\nx = 1\n```")[-1:] == ["x = 1"] or text.startswith("````")


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


def test_unfenced_call_is_code() -> None:
    assert code_of('FINAL("42 (as the text says)")', TOOLS) == 'FINAL("42 (as the text says)")'


def test_call_within_prose_is_prose() -> None:
    assert code_of('I would say FINAL("42")', TOOLS) is None
    assert code_of('FINAL("42") is what I would say', TOOLS) is None


def test_single_word_is_prose() -> None:
    assert code_of("done", TOOLS) is None


def test_inline_code_is_prose() -> None:
    assert code_of("Use ```x = 1``` in your code.", TOOLS) is None


def test_windows_line_ends() -> None:
    assert python_blocks("```python\r\nx = 1\r\n```\r\n") == ["x = 1"]
