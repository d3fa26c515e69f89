"""The two names that LangChain's splitters import from langchain-core, which cannot be had for Pyodide.

Splitting itself uses neither.
"""

from __future__ import annotations


class BaseDocumentTransformer:
    """What a splitter derives from."""


class Document:
    """What splitters put chunks into when they are asked for documents instead of strings."""
