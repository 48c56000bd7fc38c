"""
title: Provider Routing
author: The OpenRouter pipe maintainers
description: Sends your chats to the providers you prefer, among those that the admin allows.
version: 0.1.0
required_open_webui_version: 0.11.0
license: MIT
"""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, Field

Sort = Literal["default", "price", "throughput", "latency", "exacto"]
DataCollection = Literal["allow", "deny"]
QUANTIZATIONS: list[Any] = [
    *("int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8"),
    *("fp16", "bf16", "fp32", "unknown"),
]


# A value that is refused would leave a user without any preference, so it counts as the default.
def one_of(*choices: Any) -> BeforeValidator:
    """Read a choice; what is none of them counts as the first."""
    return BeforeValidator(lambda value: value if value in choices else choices[0])


def read_amount(value: Any) -> float:
    try:
        number = float(str(value).replace(",", "."))
    except ValueError:
        return 0.0
    return number if 0 < number < 1e9 else 0.0


def read_names(value: Any) -> list[str]:
    listed = value if isinstance(value, list) else str(value or "").split(",")
    return [name.strip() for name in listed if isinstance(name, str) and name.strip()]


Amount = Annotated[float, BeforeValidator(read_amount)]
Names = Annotated[list[str], BeforeValidator(read_names)]


def offer_providers(field: dict[str, Any]) -> None:
    """Let the form offer the providers, as this filter's pipe has learnt them; else type names."""
    process = sys.modules.get("open_webui_openrouter_pipe_process")
    # Open WebUI loads a filter under a name that holds its id, which begins with the pipe's.
    owner = __name__.removeprefix("function_").partition("_provider_routing")[0]
    if names := getattr(process, "provider_names", {}).get(owner):
        field["input"] = {"type": "multiselect", "options": names}


class Filter:
    """A switch in the chat: with it on, the user's own preferences go with each request."""

    class UserValves(BaseModel):
        """What each user can prefer; zero and empty fields say nothing."""

        ORDER: Names = Field(
            default=[],
            title="Try first",
            description=(
                "Providers in the order in which to try them, such as `fireworks`; "
                "a fixed order makes cached prompts rarer."
            ),
            json_schema_extra=offer_providers,
        )
        ONLY: Names = Field(
            default=[],
            title="Only these providers",
            description="No others, even where these fail.",
            json_schema_extra=offer_providers,
        )
        IGNORE: Names = Field(
            default=[],
            title="Never these providers",
            description="Not even where all others fail.",
            json_schema_extra=offer_providers,
        )
        SORT: Annotated[Sort, one_of(*get_args(Sort))] = Field(
            default="default",
            title="Prefer by",
            description="Lowest price, most tokens a second, soonest start, or best tools.",
        )
        ALLOW_FALLBACKS: Annotated[bool, one_of(True, False)] = Field(
            default=True,
            title="Others when the first fails",
            description="Whether another provider may step in.",
        )
        REQUIRE_PARAMETERS: Annotated[bool, one_of(False, True)] = Field(
            default=False,
            title="Every parameter heeded",
            description="Only providers that heed all parameters of the chat.",
        )
        DATA_COLLECTION: Annotated[DataCollection, one_of(*get_args(DataCollection))] = Field(
            default="allow",
            title="Providers that may keep data",
            description="`deny` leaves out those that store prompts or train with them.",
        )
        QUANTIZATIONS: Names = Field(
            default=[],
            title="Quantizations",
            description="Only models computed in one of these precisions; none chosen means any.",
            json_schema_extra={"input": {"type": "multiselect", "options": QUANTIZATIONS}},
        )
        MAX_PRICE_PROMPT: Amount = Field(
            default=0.0,
            title="Price ceiling, input",
            description="USD per million tokens; where nobody is cheaper the request is refused.",
        )
        MAX_PRICE_COMPLETION: Amount = Field(
            default=0.0, title="Price ceiling, output", description="USD per million tokens."
        )
        MAX_PRICE_IMAGE: Amount = Field(
            default=0.0, title="Price ceiling, picture", description="USD for each."
        )
        MAX_PRICE_AUDIO: Amount = Field(
            default=0.0, title="Price ceiling, sound", description="USD per million tokens."
        )
        MAX_PRICE_REQUEST: Amount = Field(
            default=0.0, title="Price ceiling, request", description="USD for each."
        )
        PREFERRED_MIN_THROUGHPUT: Amount = Field(
            default=0.0,
            title="Speed wanted",
            description="Tokens a second; slower providers come last.",
        )
        PREFERRED_MAX_LATENCY: Amount = Field(
            default=0.0,
            title="Start wanted within",
            description="Seconds until the first token; later providers come last.",
        )

    def __init__(self) -> None:
        self.toggle = True
        self.icon = (
            "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' fill='none' "
            "viewBox='0 0 24 24' stroke-width='1.5' stroke='black'%3E%3Cpath d='M3 12h6l8-7h4m-3-3"
            " 3 3-3 3M9 12l8 7h4m-3-3 3 3-3 3'/%3E%3C/svg%3E"
        )

    def inlet(
        self,
        body: dict[str, Any],
        __metadata__: dict[str, Any],
        __user__: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Tell the pipe what the user prefers; models of others never look."""
        own = (__user__ or {}).get("valves")
        if wishes := preferences(own if isinstance(own, self.UserValves) else self.UserValves()):
            # The pipe reads this key of its own: what stands in Open WebUI's keys is put back.
            handed = __metadata__.get("openrouter_pipe", {})
            __metadata__["openrouter_pipe"] = {**handed, "provider": wishes}
        return body


def preferences(own: Any) -> dict[str, Any]:
    """What has been chosen, in the words of OpenRouter's `provider` object."""
    kinds = ("prompt", "completion", "image", "audio", "request")
    prices = {kind: getattr(own, f"MAX_PRICE_{kind.upper()}") for kind in kinds}
    chosen = {
        "order": own.ORDER,
        "only": own.ONLY,
        "ignore": own.IGNORE,
        "sort": "" if own.SORT == "default" else own.SORT,
        "require_parameters": own.REQUIRE_PARAMETERS,
        "data_collection": "" if own.DATA_COLLECTION == "allow" else own.DATA_COLLECTION,
        "quantizations": [name for name in own.QUANTIZATIONS if name in QUANTIZATIONS],
        "max_price": {name: price for name, price in prices.items() if price},
        "preferred_min_throughput": own.PREFERRED_MIN_THROUGHPUT,
        "preferred_max_latency": own.PREFERRED_MAX_LATENCY,
    }
    said = {name: value for name, value in chosen.items() if value}
    return said if own.ALLOW_FALLBACKS else {**said, "allow_fallbacks": False}
