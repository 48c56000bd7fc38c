"""
title: OpenRouter Search
author: The OpenRouter pipe maintainers
description: Lets the model search the web through OpenRouter, in place of Open WebUI's own search.
version: 0.1.0
required_open_webui_version: 0.11.0
license: MIT
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, Field

Engine = Literal["auto", "native", "exa", "firecrawl", "parallel", "perplexity"]
OwnEngine = Literal["inherit", Engine]
Size = Literal["auto", "low", "medium", "high"]
MOST_RESULTS = 25


# A value that is refused would end the chat, so what cannot be read counts as the default.
def one_of(*choices: str) -> BeforeValidator:
    """Read a choice; what is none of them counts as the first."""
    return BeforeValidator(lambda value: value if value in choices else choices[0])


def read_count(value: Any) -> int:
    try:
        return max(0, min(MOST_RESULTS, int(float(value))))
    except (TypeError, ValueError, OverflowError):
        return 0


def read_text(value: Any) -> str:
    return value if isinstance(value, str) else ""


Count = Annotated[int, BeforeValidator(read_count)]
Text = Annotated[str, BeforeValidator(read_text)]


class Filter:
    """A switch in the chat: with it on, OpenRouter searches, and Open WebUI does not."""

    class Valves(BaseModel):
        """What holds for everyone."""

        ENGINE: Annotated[Engine, one_of(*get_args(Engine))] = Field(
            default="auto",
            title="Search engine",
            description="`auto`: the model's own search where it has one, else Exa.",
        )
        MAX_RESULTS: Count = Field(
            default=5,
            title="Results per search",
            description="The most that one search may bring; 0 leaves it to OpenRouter.",
        )
        ALLOWED_DOMAINS: Text = Field(
            default="",
            title="Only these sites",
            description="Comma-separated, such as `wikipedia.org`; not every engine heeds it.",
        )
        EXCLUDED_DOMAINS: Text = Field(
            default="",
            title="Never these sites",
            description="Comma-separated; not every engine heeds it.",
        )

    class UserValves(BaseModel):
        """What each user can choose; `inherit` and empty fields leave it to the admin."""

        ENGINE: Annotated[OwnEngine, one_of(*get_args(OwnEngine))] = Field(
            default="inherit",
            title="Search engine",
            description="Who searches for you; prices differ.",
        )
        MAX_RESULTS: Count = Field(
            default=0,
            title="Results per search",
            description="Fewer than the admin allows; 0 takes as many.",
        )
        CONTEXT_SIZE: Annotated[Size, one_of(*get_args(Size))] = Field(
            default="auto",
            title="Text per search",
            description="How much of the pages found is read; more costs more.",
        )
        ALLOWED_DOMAINS: Text = Field(
            default="",
            title="Only these sites",
            description="Comma-separated; counts where the admin names none.",
        )
        EXCLUDED_DOMAINS: Text = Field(
            default="",
            title="Never these sites",
            description="Comma-separated, besides those that the admin names.",
        )

    def __init__(self) -> None:
        self.valves = self.Valves()
        self.toggle = True
        self.icon = (
            "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' fill='none' "
            "viewBox='0 0 24 24' stroke-width='1.5' stroke='black'%3E%3Ccircle cx='10' cy='10' "
            "r='7'/%3E%3Cpath stroke-linecap='round' d='m15 15 6 6M3 10h14M10 3c-4 4-4 10 0 14"
            "m0-14c4 4 4 10 0 14'/%3E%3C/svg%3E"
        )

    def inlet(
        self,
        body: dict[str, Any],
        __metadata__: dict[str, Any],
        __model__: dict[str, Any] | None = None,
        __user__: dict[str, Any] | None = None,
        __id__: str = "",
    ) -> dict[str, Any]:
        """Turn Open WebUI's search off for this request, and tell the pipe to search."""
        if not is_ours(__model__ or {}, __id__):
            return body
        features = body.get("features")
        if isinstance(features, dict):
            body["features"] = {**features, "web_search": False}
        own = (__user__ or {}).get("valves")
        wish = self.wish(own if isinstance(own, self.UserValves) else self.UserValves())
        # The pipe reads this key of its own: what stands in Open WebUI's keys is put back.
        __metadata__["openrouter_pipe"] = {
            **__metadata__.get("openrouter_pipe", {}),
            "search": wish,
        }
        return body

    def wish(self, own: Any) -> dict[str, Any]:
        """What OpenRouter is to be asked for: the user's choices within the admin's."""
        admin = self.valves
        most = [count for count in (own.MAX_RESULTS, admin.MAX_RESULTS) if count]
        engine = admin.ENGINE if own.ENGINE == "inherit" else own.ENGINE
        wish = {
            "engine": engine,
            "max_results": min(most, default=0),
            "search_context_size": "" if own.CONTEXT_SIZE == "auto" else own.CONTEXT_SIZE,
            "allowed_domains": entries(admin.ALLOWED_DOMAINS) or entries(own.ALLOWED_DOMAINS),
            "excluded_domains": entries(f"{admin.EXCLUDED_DOMAINS},{own.EXCLUDED_DOMAINS}"),
        }
        return {name: value for name, value in wish.items() if value}


def is_ours(model: dict[str, Any], filter_id: str) -> bool:
    """Whether the model is one of the pipe that has installed this filter as `<its id>_search`."""
    base = (model.get("info") or {}).get("base_model_id") or model.get("id") or ""
    return base.startswith(filter_id.removesuffix("_search") + ".")


def entries(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
