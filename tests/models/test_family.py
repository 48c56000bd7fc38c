"""Model ids, from OpenRouter's form to Open WebUI's and back."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from open_webui_openrouter_pipe.models.family import (
    ModelFamily,
    ReasoningAbility,
    from_host_id,
    read_family,
    to_host_id,
)

ANY_ID = st.text() | st.text(alphabet="ab./:@~-_ ", max_size=12)


@pytest.mark.parametrize(
    ("model_id", "host_id"),
    [
        ("openai/gpt-4o", "openai.gpt-4o"),
        ("openai/gpt-4.1-mini", "openai.gpt-4.1-mini"),
        ("deepseek/deepseek-r1:free", "deepseek.deepseek-r1:free"),
        ("openai/gpt-4o-2024-08-06", "openai.gpt-4o-2024-08-06"),
        ("@preset/my-setup", "@preset.my-setup"),
        ("~anthropic/claude-latest", "~anthropic.claude-latest"),
        ("openrouter/auto", "openrouter.auto"),
    ],
)
def test_an_id_is_written_with_a_dot_and_read_back(model_id: str, host_id: str) -> None:
    assert to_host_id(model_id) == host_id
    assert from_host_id(host_id) == model_id


@given(ANY_ID)
def test_any_id_comes_back_as_it_was(model_id: str) -> None:
    assert from_host_id(to_host_id(model_id)) == model_id


@given(ANY_ID, ANY_ID)
def test_two_ids_never_become_one(first: str, second: str) -> None:
    assume(first != second)
    assert to_host_id(first) != to_host_id(second)


@given(ANY_ID)
def test_an_id_passes_behind_the_id_of_the_function(model_id: str) -> None:
    """Open WebUI puts `<function>.` before it and cuts at the first dot."""
    host_id = f"openrouter.{to_host_id(model_id)}"
    assert from_host_id(host_id.partition(".")[2]) == model_id


@pytest.mark.parametrize("model_id", ["openai/gpt-4o", "openai/gpt-4.1", "x/y/z.w"])
def test_openrouters_own_form_is_taken_as_it_is(model_id: str) -> None:
    assert from_host_id(model_id) == model_id


@pytest.mark.parametrize(
    ("row", "family"),
    [
        ({"id": "a/b", "name": "A: B"}, ModelFamily("a/b", "A: B")),
        ({"id": "a/b"}, ModelFamily("a/b", "a/b")),
        ({"id": "a/b", "name": None}, ModelFamily("a/b", "a/b")),
        ({"id": "a/b", "name": ""}, ModelFamily("a/b", "a/b")),
        (
            {
                "id": "a/b",
                "supported_parameters": ["temperature", 7],
                "architecture": {"input_modalities": ["image"], "output_modalities": ["audio"]},
            },
            ModelFamily(
                "a/b",
                "a/b",
                frozenset({"temperature"}),
                frozenset({"image"}),
                frozenset({"audio"}),
            ),
        ),
        ({"id": "a/b", "architecture": 7, "supported_parameters": "x"}, ModelFamily("a/b", "a/b")),
        ({"name": "nameless"}, None),
        ({"id": ""}, None),
        ({"id": 7}, None),
    ],
)
def test_a_row_needs_an_id_and_can_do_without_a_name(
    row: dict[str, object], family: ModelFamily | None
) -> None:
    assert read_family(row) == family


@pytest.mark.parametrize(
    ("reasoning", "ability"),
    [
        ({"mandatory": True}, ReasoningAbility(True, ())),
        ({"mandatory": False, "supported_efforts": None}, ReasoningAbility(False, None)),
        (
            {"mandatory": False, "supported_efforts": ["low", "high"]},
            ReasoningAbility(False, ("low", "high")),
        ),
        ({"supported_efforts": "low"}, ReasoningAbility(False, None)),
        (None, None),
        ({}, None),
        ("yes", None),
    ],
)
def test_how_a_model_thinks_is_read(reasoning: object, ability: ReasoningAbility | None) -> None:
    family = read_family({"id": "a/b", "reasoning": reasoning})
    assert family is not None
    assert family.reasoning == ability


@pytest.mark.parametrize(("sent", "read"), [(128_000, 128_000), (0, None), (None, None)])
def test_how_much_a_model_can_hold_is_read(sent: object, read: int | None) -> None:
    family = read_family({"id": "a/one", "context_length": sent})
    assert family is not None and family.context_length == read


def test_a_model_that_only_takes_the_parameter_takes_every_effort() -> None:
    family = read_family({"id": "a/b", "supported_parameters": ["reasoning"]})
    assert family is not None
    assert family.reasoning == ReasoningAbility(False, None)


@pytest.mark.parametrize(("model_id", "is_batch"), [("a/b:batch", True), ("a/batch", False)])
def test_a_model_for_batches_is_told_by_its_variant(model_id: str, is_batch: bool) -> None:
    assert ModelFamily(model_id, "B").is_batch is is_batch
