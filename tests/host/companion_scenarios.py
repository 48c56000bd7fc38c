"""Companion filters in the installed Open WebUI's table of functions; prints what became of them.

Run by the host's own Python, with the bundle's path: `companion_scenarios.py dist/pipe.py`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import row_scenarios  # pyright: ignore[reportMissingImports] # it stands beside this script
from open_webui.models.functions import Functions  # pyright: ignore[reportMissingImports]
from open_webui.models.models import Models  # pyright: ignore[reportMissingImports]
from open_webui.models.users import Users  # pyright: ignore[reportMissingImports]

SEARCH, ROUTING = "openrouter_search", "openrouter_provider_routing"


async def look() -> dict[str, Any]:
    row = await Models.get_model_by_id(row_scenarios.OURS)
    seen: dict[str, Any] = {
        function.id: {
            "kind": function.type,
            "name": function.name,
            "on": (function.is_active, function.is_global),
            "toggle": function.meta.model_dump().get("toggle"),
            "title": function.meta.manifest.get("title"),
            "end": function.content.splitlines()[-1],
            "version": getattr(function, "version_id", None),
        }
        for function in await Functions.get_functions()
    }
    return {"filters": seen, "offered": row and row.meta.model_dump().get("filterIds")}


async def play(path: str) -> dict[str, Any]:
    stage, seen = row_scenarios.Stage(row_scenarios.flat_pipe(path)), {}
    sources: dict[str, str] = stage.pipe.FILTER_SOURCES
    await stage.sync(1)
    seen["nobody"] = await look()
    await Users.insert_new_user("ada", "Ada", "ada@example.com", role="admin")
    await stage.sync(1)
    seen["first"] = await look()
    await stage.sync(1)
    seen["second"] = await look()

    routing = await Functions.get_function_by_id(ROUTING)
    edited = {"content": f"{routing.content}# mine\n", "meta": routing.meta.model_dump()}
    await Functions.update_function_by_id(ROUTING, edited)
    await Functions.update_function_by_id(SEARCH, {"is_active": False})
    for number in range(3):
        for name in sources:
            sources[name] += f"# newer {number}\n"
        await stage.sync(1)
    seen["newer"] = await look()

    await Functions.delete_function_by_id(SEARCH)
    for number in range(3):
        await stage.sync(1, f"text {number}")
    seen["deleted"] = await look()
    await stage.sync(1, AUTO_INSTALL_ORS_FILTER=False)
    await stage.sync(1, MODEL_METADATA_SYNC="off")
    await stage.sync(1, AUTO_ATTACH_PROVIDER_ROUTING_FILTER=False)
    seen["wanted_back"] = await look()

    await Functions.delete_function_by_id(SEARCH)
    install = stage.pipe.insert_filter(SEARCH, sources["search_toggle"])
    again = stage.pipe.insert_filter(SEARCH, sources["search_toggle"])
    seen["two_workers"] = sorted(await asyncio.gather(install, again))
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(play(sys.argv[1]))) + "\n")
