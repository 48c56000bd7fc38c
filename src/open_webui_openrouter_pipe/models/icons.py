"""The makers' icons: addresses at OpenRouter or, where the admin wants it, copies."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from contextlib import suppress

from ..core.addresses import AddressRules
from ..core.attachment_valves import DownloadRules
from ..core.errors import PipeError
from ..core.media_types import sniff_media_type
from .family import ModelFamily

FetchIcon = Callable[[str], Awaitable[bytes]]
# A file of that name stands at OpenRouter for each; other makers have none there that is known.
_ICONS = "https://openrouter.ai/images/icons/"
_ICON_FILES = {
    "anthropic": "Anthropic.svg",
    "cohere": "Cohere.png",
    "deepseek": "DeepSeek.png",
    "google": "GoogleGemini.svg",
    "meta-llama": "Meta.png",
    "mistralai": "Mistral.png",
    "openai": "OpenAI.svg",
    "perplexity": "Perplexity.svg",
    "qwen": "Qwen.png",
}
_HOSTS_OWN = "/static/favicon.png"
NO_ICON = ("", _HOSTS_OWN, "/favicon.png", "/user.png")
"""What stands in a row that has none."""

# Each lies in the rows of all its maker's models, and every list of models reads those.
ICON_DOWNLOAD = DownloadRules(AddressRules(), 65_536, max_retries=1, first_wait=1.0, time_limit=10)
_COPIED_TYPES = frozenset({"image/png", "image/jpeg", "image/webp"})


def icon_of(family: ModelFamily) -> str:
    """The address of the maker's icon; empty where none is known."""
    file = _ICON_FILES.get(family.vendor)
    return _ICONS + file if file else ""


async def copy_icons(fetch: FetchIcon, copies: dict[str, str]) -> None:
    """Add what is to stand in a row instead of each address; what has not come is empty.

    Of a drawing, which Open WebUI refuses as a copy, it is Open WebUI's own icon.
    """
    for address in map(_ICONS.__add__, _ICON_FILES.values()):
        if address.endswith(".svg"):
            copies[address] = _HOSTS_OWN
        elif not copies.get(address):
            content = b""
            with suppress(PipeError):
                content = await fetch(address)
            kind = sniff_media_type(content)
            data = f"data:{kind};base64,{base64.b64encode(content).decode()}"
            copies[address] = data if kind in _COPIED_TYPES else ""
