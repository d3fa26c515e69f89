"""The keywords that are known, and what each of them means.

Source: JSON Schema, draft 2020-12. `format` and the like are for readers (7 and 9).
"""

from __future__ import annotations

from collections.abc import Mapping

from . import applicators, assertions, core
from .nodes import Keyword

# In the order in which they are looked at. None: for readers, and true of any value.
KEYWORDS: Mapping[str, Keyword | None] = {
    "$ref": core.ref,
    "type": assertions.type_,
    "enum": assertions.enum,
    "const": assertions.const,
    "allOf": applicators.all_of,
    "anyOf": applicators.any_of,
    "oneOf": applicators.one_of,
    "not": applicators.not_,
    "if": applicators.if_,
    "then": applicators.unconditional,
    "else": applicators.unconditional,
    "minLength": assertions.sized(str, assertions.at_least, "must be longer than or equal to {} characters"),
    "maxLength": assertions.sized(str, assertions.at_most, "must be shorter than or equal to {} characters"),
    "pattern": assertions.pattern,
    "minimum": assertions.compared(assertions.at_least, "bigger than or equal to"),
    "maximum": assertions.compared(assertions.at_most, "smaller than or equal to"),
    "exclusiveMinimum": assertions.compared(lambda value, limit: value > limit, "bigger than"),
    "exclusiveMaximum": assertions.compared(lambda value, limit: value < limit, "smaller than"),
    "multipleOf": assertions.multiple_of,
    "minItems": assertions.sized(list, assertions.at_least, "must contain at least {} items"),
    "maxItems": assertions.sized(list, assertions.at_most, "must contain less than or equal to {} items"),
    "uniqueItems": assertions.unique_items,
    "prefixItems": applicators.prefix_items,
    "items": applicators.items,
    "minProperties": assertions.sized(dict, assertions.at_least, "must contain at least {} properties"),
    "maxProperties": assertions.sized(dict, assertions.at_most, "must contain less than or equal to {} properties"),
    "required": assertions.required,
    "dependentRequired": assertions.dependent_required,
    "properties": applicators.properties,
    "patternProperties": applicators.pattern_properties,
    "additionalProperties": applicators.additional_properties,
    "propertyNames": applicators.property_names,
    "$defs": core.definitions,
    "definitions": core.definitions,
    "$id": core.identifier,
    **dict.fromkeys(
        (
            *("$schema", "$comment", "title", "description", "default", "example", "examples", "deprecated"),
            *("readOnly", "writeOnly", "format", "contentEncoding", "contentMediaType", "contentSchema"),
            "discriminator",
        )
    ),
}
