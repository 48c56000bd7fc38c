"""The `tools` of a request: what the chat offers, in the Responses API's words."""

from __future__ import annotations

from collections.abc import Container

from ..api.bodies import CompletionsBody
from ..core.ids import api_tool_name
from ..core.json_values import JsonObject, as_object, objects_in, text_of
from .schema import strict_schema


def define_host_tools(
    body: CompletionsBody, model: str, loose: Container[str] | None
) -> list[JsonObject]:
    """The tools Open WebUI offers, under names the API takes, in the order of their names.

    Their schemas become strict where they can and the model follows them, except for the `loose`
    ones; `None` leaves all as they are.
    """
    definitions = _flat_definitions(body, model)
    for definition in definitions:
        if definition["type"] != "function":
            continue
        name = text_of(definition["name"])
        definition["name"] = api_tool_name(name)
        if loose is not None and name not in loose and _follows_schemas(model):
            _make_strict(definition)
    return _in_order(definitions)


def define_callers_tools(body: CompletionsBody, model: str) -> list[JsonObject]:
    """The tools an API client has sent: its own words, in the Responses API's form."""
    return _in_order(_flat_definitions(body, model))


def _follows_schemas(model: str) -> bool:
    """Whether the vendor holds its models to a strict schema: OpenAI does, others vary."""
    return model.removeprefix("~").startswith("openai/")


def _flat_definitions(body: CompletionsBody, model: str) -> list[JsonObject]:
    definitions: list[JsonObject] = []
    for entry in objects_in(body.get("tools")):
        definition = _flat_definition(entry)
        if definition is None:
            continue
        if definition["type"] == "function" and _follows_schemas(model):
            definition.setdefault("strict", False)  # unsaid, the Responses API supposes it
        definitions.append(definition)
    return definitions


def _flat_definition(entry: JsonObject) -> JsonObject | None:
    """Chat completions nest a function's fields; what is no function goes out as it came."""
    kind = text_of(entry.get("type")) or "function"
    if kind != "function":
        return dict(entry)
    function = as_object(entry.get("function")) or entry
    name = text_of(function.get("name"))
    if not name:
        return None
    flat: JsonObject = {"type": "function", "name": name}
    if description := text_of(function.get("description")):
        flat["description"] = description
    flat["parameters"] = as_object(function.get("parameters")) or _no_parameters()
    if isinstance(function.get("strict"), bool):
        flat["strict"] = function["strict"]
    return flat


def _no_parameters() -> JsonObject:
    return {"type": "object", "properties": {}}


def _make_strict(definition: JsonObject) -> None:
    strict = strict_schema(definition["parameters"])
    definition["strict"] = strict is not None
    if strict is not None:
        definition["parameters"] = strict


def _in_order(definitions: list[JsonObject]) -> list[JsonObject]:
    """One definition for each type and name, the last: the same chat gives the same list."""
    unique = {
        (text_of(entry.get("name")), text_of(entry.get("type"))): entry for entry in definitions
    }
    return [unique[key] for key in sorted(unique)]
