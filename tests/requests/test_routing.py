"""Provider preferences: the admin's table, and above it what the model's parameters say."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.core.hand_over import HandOver
from open_webui_openrouter_pipe.requests.normalise import build_responses_body
from open_webui_openrouter_pipe.requests.routing import provider_fields
from tests.requests.contexts import context

TABLE = """
# the house rules
a/*: {"data_collection": "deny", "order": ["x"]}
a/two: {"order": ["y"], "max_price": {"prompt": 1}}
"""


def provider(body: dict[str, Any], model: str = "a/one", table: str = TABLE, **wishes: Any) -> Any:
    asked = context(model, hand_over=HandOver(provider=wishes), PROVIDER_ROUTING=table)
    return provider_fields(body, asked).get("provider")


def test_each_line_holds_for_the_models_it_matches_and_the_later_one_counts() -> None:
    assert provider({}) == {"data_collection": "deny", "order": ["x"]}
    two = {"data_collection": "deny", "order": ["y"], "max_price": {"prompt": 1}}
    assert provider({}, "a/two") == two
    assert provider({}, "b/one") is None


@pytest.mark.parametrize("own", [{"order": ["z"]}, '{"order": ["z"]}'])
def test_the_models_own_parameters_stand_above_the_table(own: Any) -> None:
    assert provider({"provider": own}) == {"data_collection": "deny", "order": ["z"]}


def test_lists_may_be_written_with_commas() -> None:
    body = {"openrouter_provider_only": "p/fast, q ,", "openrouter_provider_ignore": ["r"]}
    assert provider(body, table="") == {"only": ["p/fast", "q"], "ignore": ["r"]}


def test_the_users_wishes_count_where_the_admin_says_nothing() -> None:
    wishes = {"order": ["mine"], "sort": "price"}
    assert provider({}, "b/one", **wishes) == wishes
    assert provider({"provider": {"only": ["p"]}}, **wishes) == {
        "data_collection": "deny",
        "order": ["x"],
        "only": ["p"],
        "sort": "price",
    }


def test_a_user_may_forbid_the_keeping_of_data_in_any_case() -> None:
    allowing = {"provider": {"data_collection": "allow"}}
    assert provider(allowing, "b/one", data_collection="deny") == {"data_collection": "deny"}


def test_what_the_table_demands_for_privacy_no_parameter_takes_back() -> None:
    table = 'a/*: {"data_collection": "deny", "zdr": true}'
    own = {"provider": {"data_collection": "allow", "zdr": False}}
    assert provider(own, table=table) == {"data_collection": "deny", "zdr": True}


def test_lines_that_cannot_be_read_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    table = 'a/*: {"order": [\nnonsense\na/one: {"only": ["p"]}'
    assert provider({}, table=table) == provider({}, table=table) == {"only": ["p"]}
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == ["1, 2"]


def test_the_preferences_go_out_with_the_request() -> None:
    asked = context(PROVIDER_ROUTING=TABLE)
    body = {"messages": [{"role": "user", "content": "Hello"}]}
    sent = build_responses_body(body, asked, None)
    assert sent["provider"] == {"data_collection": "deny", "order": ["x"]}
