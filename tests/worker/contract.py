"""The OpenAPI document as a judge of real answers."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

_URI = "urn:contract"


@dataclass
class Contract:
    """The document, and the answers that it has been shown: (method, path, status)."""

    document: dict[str, object]
    seen: set[tuple[str, str, int]] = field(default_factory=set)

    def documented(self) -> set[tuple[str, str, int]]:
        return {
            (method.upper(), path, int(status))
            for path, methods in self._at("paths").items()
            for method, operation in methods.items()
            for status in operation["responses"]
        }

    def check(self, method: str, path: str, answer: httpx.Response) -> httpx.Response:
        """Raises where an answer's status, media type, headers or body is not what the document says of it."""
        place = ("paths", path, method.lower(), "responses", str(answer.status_code))
        response = self._at(*place)
        for name in response.get("headers", {}):
            assert name in answer.headers, f"{method} {path} {answer.status_code} has no {name}"
        if "content" not in response:
            assert not answer.content
        else:
            media = answer.headers["content-type"].partition(";")[0]
            assert media in response["content"], f"{method} {path} {answer.status_code}: {media}"
            self._body((*place, "content", media), answer.text)
        self.seen.add((method, path, answer.status_code))
        return answer

    def accepts(self, schema: str, value: object) -> bool:
        return bool(self.validator("components", "schemas", schema).is_valid(value))

    def validator(self, *place: str) -> Draft202012Validator:
        pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in place)
        registry = Registry().with_resource(_URI, DRAFT202012.create_resource(self.document))
        return Draft202012Validator({"$ref": f"{_URI}#{pointer}"}, registry=registry)

    def _body(self, place: tuple[str, ...], text: str) -> None:
        described = self._at(*place)
        if place[-1] == "text/event-stream":
            self._events(described["x-events"], text)
        elif "x-line" in described:
            for line in text.splitlines():
                self.validator(*place, "x-line").validate(json.loads(line))
        elif place[-1] == "text/html":
            assert text.startswith("<!doctype html>")
        elif place[-1] == "text/csv":
            assert len({len(row) for row in csv.reader(text.splitlines())}) == 1
        else:
            self.validator(*place, "schema").validate(json.loads(text))

    def _events(self, described: Mapping[str, object], text: str) -> None:
        for block in filter(None, text.split("\n\n")):
            lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if not lines or lines["data"] == "[DONE]":
                continue
            # A form has one model for all of its events, or one for each.
            schema = described if "$ref" in described else described.get(lines["event"])
            assert isinstance(schema, dict), f"the event {lines['event']} is not documented"
            reference = schema["$ref"].removeprefix("#/").split("/")
            self.validator(*reference).validate(json.loads(lines["data"]))

    def _at(self, *place: str) -> dict[str, dict[str, dict[str, dict[str, object]]]]:
        found: object = self.document
        for part in place:
            assert isinstance(found, dict)
            assert part in found, f"the document says nothing of {' '.join(place)}"
            found = found[part]
        assert isinstance(found, dict)
        return found
