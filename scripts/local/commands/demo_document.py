"""The demo's document: prose that is on every machine with Python and that nobody here wrote."""

from __future__ import annotations

import re
from pydoc_data.topics import topics

from rlm_client import Document

QUESTION = "What is the with statement used for?"
# The sentence in "compound": The "with" statement is used to wrap the execution of a block with methods defined by a
# context manager.
_SAID_BY_THE_DOCUMENT = re.compile(r"wrap\w* the execution|methods defined by a context manager", re.IGNORECASE)
_DEFAULT_TOPICS = ("specialnames", "compound")


def demo_documents(*, large: bool) -> list[Document]:
    """Two long topics of the language reference, about 113,000 characters; or all of them, about 466,000."""
    names = sorted(topics) if large else _DEFAULT_TOPICS
    return [Document(name=name, text=topics[name]) for name in names]


def is_grounded(answer: str) -> bool:
    """Whether an answer says what the document says about the question."""
    return _SAID_BY_THE_DOCUMENT.search(" ".join(answer.split())) is not None
