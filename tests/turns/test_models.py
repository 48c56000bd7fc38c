"""Which models a chat may use, from the settings to the wire."""

from __future__ import annotations

from typing import Any

import pytest

from pipe_lab.simulator import Simulator, error_reply
from tests.turns.calls import (
    CHAT,
    body,
    chat,
    configure,
    make_pipe,
    request_of,
    text_of_chat,
    whole,
)


def asked(simulator: Simulator) -> list[dict[str, Any]]:
    return [entry.body for entry in simulator.requests if entry.path == "/responses"]


async def zdr_split(simulator: Simulator) -> tuple[str, str]:
    """A model with a provider that keeps no data, and one without."""
    pipe = make_pipe(simulator, ZDR_MODELS_ONLY=True)
    private = [entry["id"] for entry in await pipe.pipes()]
    every = [entry["id"] for entry in await make_pipe(simulator).pipes()]
    assert 0 < len(private) < len(every)
    return private[0], next(model for model in every if model not in private)


async def test_zero_data_retention_refuses_with_its_reason_and_is_sent(
    simulator: Simulator,
) -> None:
    private, other = await zdr_split(simulator)
    pipe = make_pipe(simulator, ZDR_ENFORCE=True)

    refusal = await chat(pipe, model=other)
    answer = await chat(pipe, model=private)

    assert "zero data retention" in str(refusal[-1])
    assert text_of_chat(answer)
    assert [sent["provider"] for sent in asked(simulator)] == [{"zdr": True}]


@pytest.mark.parametrize("own", [{}, {"openrouter": {"REQUEST_ZDR": True}}])
@pytest.mark.parametrize("reason", ["is not known to have", "could not be learnt"])
async def test_the_first_chat_under_zero_data_retention_waits_until_it_is_known_who_keeps_none(
    simulator: Simulator, own: dict[str, Any], reason: str
) -> None:
    _, other = await zdr_split(simulator)
    pipe = make_pipe(simulator)
    await pipe.pipes()  # fetches the catalog, and no private list
    configure(pipe, simulator, ZDR_ENFORCE=not own)
    if reason == "could not be learnt":
        simulator.script(error_reply(503, "Oh"), path="/endpoints/zdr")

    answer: Any = await pipe.pipe(body(model=other), CHAT, request_of("user-1", **own))

    assert reason in str([event async for event in answer][-1])
    assert asked(simulator) == []


async def test_a_chore_may_use_any_model(simulator: Simulator) -> None:
    pipe = make_pipe(simulator, MODEL_ID="anthropic/*", FREE_MODEL_FILTER="only")
    await whole(pipe, task="title_generation", model="openai.gpt-4o")
    assert [sent["model"] for sent in asked(simulator)] == ["openai/gpt-4o"]


async def test_a_fallback_that_a_rule_keeps_back_is_not_sent(simulator: Simulator) -> None:
    pipe = make_pipe(simulator, MODEL_ID="openai/*")
    for fallback in ("openai/gpt-4o-mini, anthropic/x", "anthropic/x"):
        wanted = {**body(model="openai.gpt-4o"), "model_fallback": fallback}
        answer: Any = await pipe.pipe(wanted, CHAT)
        assert [event async for event in answer]
    assert [sent.get("models") for sent in asked(simulator)] == [["openai/gpt-4o-mini"], None]


@pytest.mark.parametrize("model", ["openai.gpt-4o:nitro", "openai.gpt-4o"])
async def test_a_variant_goes_out_under_its_own_name(simulator: Simulator, model: str) -> None:
    pipe = make_pipe(simulator, VARIANT_MODELS="openai/gpt-4o:nitro")
    assert model in [entry["id"] for entry in await pipe.pipes()]
    await chat(pipe, model=model)
    assert asked(simulator)[-1]["model"] == model.replace(".", "/", 1)


async def test_the_form_offers_the_vendors_of_the_catalog(simulator: Simulator) -> None:
    pipe = make_pipe(simulator)
    await pipe.pipes()
    assert {"openai", "anthropic"} <= set(pipe.Valves.vendor_choices())
