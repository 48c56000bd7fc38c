"""The simulator's catalog: every combination of capabilities, and the routes that list it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest

from pipe_lab.simulator import Simulator
from pipe_lab.simulator.catalog import build_catalog

Row = dict[str, Any]

# What a model reads > writes, Tools and Structured outputs, and its reasoning: `-` none,
# `o` optional, `M` mandatory, with `e`fforts and a token `b`udget. Text, image, file, audio, video.
COMBINATIONS = """
t>t . - | t>t . o | t>t S - | t>t S M | t>t S o | t>t T - | t>t T M | t>t T Me | t>t T o
t>t T ob | t>t T oe | t>t T oeb | t>t TS - | t>t TS M | t>t TS Me | t>t TS o | t>t TS oe
t>t TS oeb | ta>ta TS - | tf>t TS - | tf>t TS Me | tf>t TS o | tfa>t TS - | ti>t . - | ti>t . o
ti>t S - | ti>t S M | ti>t T - | ti>t T o | ti>t TS - | ti>t TS M | ti>t TS Me | ti>t TS o
ti>t TS oe | ti>ta . - | ti>ti . oe | ti>ti S - | ti>ti S M | ti>ti S oe | ti>ti TS M
tia>t T oe | tia>t TS oe | tiav>t T ob | tiav>t TS o | tif>t S Me | tif>t S o | tif>t T o
tif>t TS - | tif>t TS M | tif>t TS Me | tif>t TS o | tif>t TS oe | tif>t TS oeb | tif>ti S M
tif>ti S oe | tifa>t TS M | tifav>t TS M | tifav>t TS Me | tifav>t TS o | tifav>t TS oe
tifav>ti TS - | tifv>t T o | tiv>t S o | tiv>t T o | tiv>t T ob | tiv>t TS Me | tiv>t TS o
tiv>t TS oe | ti>i . -
"""


def combination(row: Row) -> str:
    order = ("text", "image", "file", "audio", "video")
    sides = (row["architecture"][f"{side}_modalities"] for side in ("input", "output"))
    kinds = ">".join("".join(kind[0] for kind in order if kind in side) for side in sides)
    abilities = "T" * ("tools" in row["supported_parameters"])
    abilities += "S" * ("structured_outputs" in row["supported_parameters"])
    reasoning = row.get("reasoning")
    if reasoning is None:
        return f"{kinds} {abilities or '.'} -"
    code = "M" if reasoning["mandatory"] else "o"
    code += "e" * bool(reasoning.get("supported_efforts"))
    return f"{kinds} {abilities or '.'} {code}{'b' * ('supports_max_tokens' in reasoning)}"


def test_every_combination_of_capabilities_has_a_row() -> None:
    wanted = {cell.strip() for cell in COMBINATIONS.replace("\n", "|").split("|") if cell.strip()}
    assert wanted - {combination(row) for row in build_catalog()} == set()


def test_the_catalog_is_about_as_large_as_promised_and_the_same_each_time() -> None:
    rows = build_catalog()
    chat = [r for r in rows if "text" in r["architecture"]["output_modalities"]]
    assert 350 <= sum(not row["id"].endswith(":batch") for row in chat) <= 380
    assert len({row["id"] for row in rows}) == len(rows)
    assert rows == build_catalog()


@pytest.mark.parametrize(
    "trait",
    [
        pytest.param(lambda row: row["id"].endswith(":free"), id="free"),
        pytest.param(lambda row: row["id"].endswith(":batch"), id="batch"),
        pytest.param(lambda row: row["id"].endswith(":thinking"), id="thinking"),
        pytest.param(lambda row: row["id"].startswith("~") and row["alias_target"], id="alias"),
        pytest.param(lambda row: row["pricing"]["prompt"] == "-1", id="unknown price"),
        pytest.param(lambda row: row["pricing"].get("overrides"), id="price override"),
        pytest.param(lambda row: "utc_start" in str(row["pricing"]), id="price by the hour"),
        pytest.param(lambda row: "input_cache_write_1h" in row["pricing"], id="cache write"),
        pytest.param(lambda row: "discount" in row["pricing"], id="discount"),
        pytest.param(lambda row: "image_output" in row["pricing"], id="price per image"),
        pytest.param(lambda row: row["context_length"] is None, id="no context length"),
        pytest.param(lambda row: row["expiration_date"], id="expiration date"),
        pytest.param(lambda row: row["supported_voices"], id="voices"),
        pytest.param(lambda row: row["top_provider"]["is_moderated"], id="moderated"),
        pytest.param(
            lambda row: row.get("reasoning", {}).get("supported_efforts", 0) is None,
            id="any effort",
        ),
        pytest.param(
            lambda row: row.get("reasoning", {}).get("default_enabled") is False, id="off"
        ),
    ],
)
def test_rows_with_unusual_traits_exist(trait: Any) -> None:
    assert any(trait(row) for row in build_catalog())


def test_prices_are_decimal_text_without_exponents() -> None:
    for row in build_catalog():
        for price in row["pricing"].values():
            if isinstance(price, str):
                assert "E" not in price
                assert Decimal(price) >= -1


async def test_models_hides_what_does_not_write_text(client: httpx.AsyncClient) -> None:
    body = (await client.get("/models")).json()
    assert all("text" in row["architecture"]["output_modalities"] for row in body["data"])
    assert body["total_count"] == len(body["data"])
    assert body["links"] == {"next": None}
    everything = (await client.get("/models?output_modalities=all")).json()
    assert everything["total_count"] > body["total_count"]
    images = (await client.get("/models?output_modalities=image")).json()["data"]
    assert "black-forest-labs/flux.2-pro" in {row["id"] for row in images}


async def test_models_are_paged_only_when_asked(client: httpx.AsyncClient) -> None:
    total = (await client.get("/models")).json()["total_count"]
    seen: list[str] = []
    address: str | None = "/models?limit=100"
    while address:
        body = (await client.get(address.removeprefix("/api/v1"))).json()
        seen += [row["id"] for row in body["data"]]
        address = body["links"]["next"]
    assert len(seen) == len(set(seen)) == total
    assert (await client.get("/models?limit=1001")).status_code == 400


async def test_models_can_be_filtered(client: httpx.AsyncClient) -> None:
    query = "supported_parameters=tools,reasoning&input_modalities=audio&model_authors=google"
    rows = (await client.get(f"/models?{query}")).json()["data"]
    assert rows
    for row in rows:
        assert {"tools", "reasoning"} <= set(row["supported_parameters"])
        assert "audio" in row["architecture"]["input_modalities"]
        assert row["id"].startswith(("google/", "~google/"))


async def test_models_need_no_key_but_the_users_models_do(simulator: Simulator) -> None:
    async with httpx.AsyncClient(base_url=simulator.base_url) as stranger:
        assert (await stranger.get("/models")).status_code == 200
        assert (await stranger.get("/models/user")).status_code == 401


@pytest.mark.parametrize(
    "slug", ["openai/gpt-4o", "~anthropic/claude-sonnet-latest", "qwen/qwen3-coder:free"]
)
async def test_endpoints_of_a_model(client: httpx.AsyncClient, slug: str) -> None:
    data = (await client.get(f"/models/{slug}/endpoints")).json()["data"]
    assert data["id"] == slug
    assert all(Decimal(endpoint["pricing"]["prompt"]) >= 0 for endpoint in data["endpoints"])


async def test_endpoints_of_one_model_differ_in_what_they_support(
    client: httpx.AsyncClient,
) -> None:
    data = (await client.get("/models/moonshotai/kimi-k3/endpoints")).json()["data"]
    support = ["tools" in endpoint["supported_parameters"] for endpoint in data["endpoints"]]
    assert True in support and False in support


async def test_details_link_leads_to_the_endpoints(client: httpx.AsyncClient) -> None:
    for row in (await client.get("/models?limit=20")).json()["data"]:
        link = row["links"]["details"].removeprefix("/api/v1")
        assert (await client.get(link)).status_code == 200


async def test_unknown_models_and_paths_are_404(client: httpx.AsyncClient) -> None:
    assert (await client.get("/models/no/model/endpoints")).status_code == 404
    assert (await client.get("/nothing")).status_code == 404


async def test_the_smaller_routes_answer(client: httpx.AsyncClient) -> None:
    providers = (await client.get("/providers")).json()["data"]
    zdr = (await client.get("/endpoints/zdr")).json()["data"]
    key = (await client.get("/key")).json()["data"]
    assert {"openai", "anthropic"} <= {provider["slug"] for provider in providers}
    assert zdr and {"model_id", "tag", "provider_name"} <= zdr[0].keys()
    assert key["limit_remaining"] == 8.75
    assert (await client.get("/credits")).status_code == 403
    management = {"Authorization": "Bearer sk-management"}
    assert (await client.get("/credits", headers=management)).json()["data"]["total_credits"] == 25


async def test_a_test_can_bring_its_own_catalog(
    simulator: Simulator, client: httpx.AsyncClient
) -> None:
    simulator.catalog = simulator.catalog[:1]
    body = (await client.get("/models?output_modalities=all")).json()
    assert body["total_count"] == 1
