"""Open WebUI's groups of users."""

from __future__ import annotations


async def read_groups(user_id: str) -> dict[str, frozenset[str]]:
    """The ids of the members of each group the user is in, by the group's name."""
    try:
        from open_webui.models.groups import Groups  # pyright: ignore[reportMissingImports]
    except ImportError:
        return {}
    return {
        group.name: frozenset(await Groups.get_group_user_ids_by_id(group.id) or ())
        for group in await Groups.get_groups_by_member_id(user_id)
    }
