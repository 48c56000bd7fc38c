"""Which models are offered, and which may be used."""

from __future__ import annotations

import pytest

from open_webui_openrouter_pipe.core.config import Settings, SystemValves, take_snapshot
from open_webui_openrouter_pipe.core.errors import ModelUnavailableError
from open_webui_openrouter_pipe.models.family import ModelFamily
from open_webui_openrouter_pipe.models.visibility import offered_families, require_allowed

CATALOG = [
    ModelFamily(model_id, model_id)
    for model_id in ("a/one", "a/one:free", "a/one-1.5", "b/two", "b/two:batch")
]


def settings(model_ids: str) -> Settings:
    return take_snapshot(SystemValves.model_validate({"MODEL_ID": model_ids}))


@pytest.mark.parametrize(
    ("model_ids", "offered"),
    [
        ("auto", ["a/one", "a/one:free", "a/one-1.5", "b/two"]),
        ("", ["a/one", "a/one:free", "a/one-1.5", "b/two"]),
        ("a/one", ["a/one"]),
        ("a.one", ["a/one"]),
        ("a.one-1.5, b/two", ["a/one-1.5", "b/two"]),
        ("a/one:free\nb.two", ["a/one:free", "b/two"]),
        ("b/two:batch", []),
        ("c/three", []),
    ],
)
def test_the_list_of_the_admin_decides_what_is_offered(model_ids: str, offered: list[str]) -> None:
    assert [family.id for family in offered_families(CATALOG, settings(model_ids))] == offered


@pytest.mark.parametrize("model_ids", ["auto", "a/one", "x/y, a.one"])
def test_a_listed_model_may_be_used(model_ids: str) -> None:
    require_allowed("a/one", settings(model_ids))


def test_another_model_may_not_be_used_and_the_reason_names_it() -> None:
    with pytest.raises(ModelUnavailableError, match="a/one:free"):
        require_allowed("a/one:free", settings("a/one"))
