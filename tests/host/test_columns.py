"""The second column's body as Open WebUI builds it, and what is left of the first one's."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.host.columns import flat_parameters, replace_inherited
from pipe_lab.host.reducer import HostFunctions

pytestmark = pytest.mark.host

Json = dict[str, Any]
DEFAULTS: Json = {"top_p": 0.9, "temperature": 0.7}
FIRST: Json = {
    "temperature": 0.1,
    "max_tokens": 50,
    "function_calling": "legacy",
    "custom_params": {"reasoning": '{"effort": "high"}', "provider": {"order": ["x"]}},
}


def column(host: HostFunctions, own: Json, chat: Json) -> Json:
    """The parameters that go out for the second column."""
    parameters = {"defaults": DEFAULTS, "first": FIRST, "own": own, "chat": chat}
    body = host.column_body(parameters)
    common = flat_parameters(DEFAULTS)
    inherited, replacing = ({**common, **flat_parameters(one)} for one in (FIRST, own))
    return replace_inherited(body, inherited, replacing)


@pytest.mark.parametrize(
    ("own", "chat", "sent"),
    [
        ({}, {}, DEFAULTS),
        ({"temperature": 0.3}, {}, {"top_p": 0.9, "temperature": 0.3}),
        (
            {"custom_params": {"provider": '{"only": ["y"]}'}},
            {},
            {**DEFAULTS, "provider": {"only": ["y"]}},
        ),
        ({"top_p": 0.2}, {"temperature": 1.2}, {"top_p": 0.2, "temperature": 1.2}),
    ],
)
def test_a_column_is_asked_with_its_own_parameters(
    host_functions: HostFunctions, own: Json, chat: Json, sent: Json
) -> None:
    assert column(host_functions, own, chat) == sent
