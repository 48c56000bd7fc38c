"""Open WebUI's groups of users."""

from __future__ import annotations

from collections.abc import Collection


async def read_groups(user_id: str, names: Collection[str]) -> dict[str, frozenset[str]]:
    """Of the groups with these names those the user is in: the ids of their members."""
    try:
        from open_webui.models.groups import Groups  # pyright: ignore[reportMissingImports]
    except ImportError:
        return {}
    groups = await Groups.get_groups_by_member_id(user_id)
    return {
        group.name: frozenset(await Groups.get_group_user_ids_by_id(group.id) or ())
        for group in groups
        if group.name in names
    }
