"""The person who asks, and what they have set for themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.context import HostHandles
from ..core.json_values import as_object, text_of
from ..core.logging_system import LOG
from ..core.personal_valves import PersonalValves


def user_of(handles: HostHandles) -> Any:
    """Open WebUI's user object, as the sign-in left it (`utils/auth.py`); `None` without one."""
    return getattr(getattr(handles.request, "state", None), "user", None)


def user_id_of(handles: HostHandles) -> str:
    """The id of the person who asks; empty where nobody does."""
    return text_of(handles.metadata.get("user_id")) or text_of(
        getattr(user_of(handles), "id", None)
    )


def is_admin(handles: HostHandles) -> bool:
    """Whether an administrator asks."""
    return text_of(getattr(user_of(handles), "role", None)) == "admin"


async def load_user(handles: HostHandles) -> Any:
    """The user object of the person who asks, from the sign-in or else the database."""
    user, user_id = user_of(handles), user_id_of(handles)
    if not user_id or (user is not None and text_of(getattr(user, "id", None)) == user_id):
        return user
    try:
        from open_webui.models.users import Users  # pyright: ignore[reportMissingImports]
    except ImportError:
        return user
    return await Users.get_user_by_id(user_id)


async def read_personal_valves(handles: HostHandles, function_id: str) -> PersonalValves | None:
    """What the user has chosen; `None` where that is nothing.

    The settings came with the sign-in. To have Open WebUI hand them over as `__user__["valves"]`
    would cost a query of the database with every call (`functions.py`, `get_function_params`).
    """
    user = user_of(handles)
    if user is None or text_of(getattr(user, "id", None)) != user_id_of(handles):
        stored = await _query_valves(function_id, user_id_of(handles))
    else:
        functions = as_object(getattr(getattr(user, "settings", None), "functions", None))
        stored = _decrypted(as_object(functions.get("valves")).get(function_id))
    return PersonalValves(**{str(name): stored[name] for name in stored}) if stored else None


async def _query_valves(function_id: str, user_id: str) -> Mapping[str, Any]:
    """Ask the database, where a call comes without a sign-in: an automation, a sub-agent."""
    if not user_id:
        return {}
    try:
        from open_webui.models.functions import Functions  # pyright: ignore[reportMissingImports]
    except ImportError:
        return {}
    return as_object(await Functions.get_user_valves_by_id_and_user_id(function_id, user_id))


def _decrypted(stored: Any) -> Mapping[str, Any]:
    """The values; where the server encrypts valves they are one token (`utils/valves.py`)."""
    if not isinstance(stored, str):
        return as_object(stored)
    try:
        from open_webui.utils.valves import (  # pyright: ignore[reportMissingImports]
            decrypt_valves,
        )
    except ImportError:
        LOG.warning("users: encrypted personal settings cannot be read and were left out")
        return {}
    return as_object(decrypt_valves(stored))


def contact_of(handles: HostHandles) -> tuple[str, str]:
    """Email address and name of the person who asks; empty where the sign-in does not tell."""
    user = user_of(handles)
    return text_of(getattr(user, "email", None)), text_of(getattr(user, "name", None))


async def read_user_names(user_ids: Sequence[str]) -> dict[str, str]:
    """Name and address of users by their ids; of those who are gone there is none."""
    try:
        from open_webui.models.users import Users  # pyright: ignore[reportMissingImports]
    except ImportError:
        return {}
    users = await Users.get_users_by_user_ids(list(user_ids))
    return {text_of(user.id): f"{user.name} ({user.email})" for user in users}


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
