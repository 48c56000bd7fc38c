"""Identifiers of our own making."""

from __future__ import annotations

import re

from open_webui_openrouter_pipe.core.ids import new_item_id, new_request_id


def test_ids_have_their_form_and_never_repeat() -> None:
    assert re.fullmatch(r"[0-9a-f]{16}", new_request_id())
    assert re.fullmatch(r"rs_[0-9a-f]{24}", new_item_id("rs"))
    assert (
        len({new_request_id() for _ in range(100)} | {new_item_id("m") for _ in range(100)}) == 200
    )
