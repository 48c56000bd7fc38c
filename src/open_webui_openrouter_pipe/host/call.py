"""One call of the pipe, as Open WebUI makes it: who, which message, and the form of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ..core.context import HostHandles
from ..core.hand_over import NOTHING_HANDED_OVER, HandOver, read_hand_over
from ..core.json_values import text_of
from .users import user_id_of


class AnswerForm(Enum):
    """What the caller can read."""

    CHAT_EVENTS = "chat events"
    """A chat in Open WebUI: Responses events, which it stores and draws."""
    COMPLETION_CHUNKS = "completion chunks"
    """An API client that streams."""
    COMPLETION_DICT = "completion dict"
    """A caller that wants the whole answer at once: an API client, a task, a quiet chat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCall:
    """The values a turn needs, out of the loose dictionaries they come in."""

    body: Mapping[str, Any]
    function_id: str
    host_model_id: str
    """The model's id behind the function's: `author.slug`."""
    user_id: str
    session_id: str
    chat_id: str
    message_id: str
    task: str
    hand_over: HandOver
    form: AnswerForm
    handles: HostHandles

    @property
    def is_live(self) -> bool:
        """Whether a message of a chat waits for the answer."""
        return bool(self.chat_id and self.message_id)

    @property
    def is_in_channel(self) -> bool:
        """Whether the answer goes into a channel, which shows its text and nothing else."""
        return self.chat_id.startswith("channel:")


def read_call(body: Mapping[str, Any], handles: HostHandles, task: Any = None) -> HostCall:
    """Read what Open WebUI hands over (`functions.py`, `generate_function_chat_completion`)."""
    metadata = handles.metadata
    function_id, _, host_model_id = text_of(body.get("model")).partition(".")
    chat_id, message_id = text_of(metadata.get("chat_id")), text_of(metadata.get("message_id"))
    if not body.get("stream"):
        form = AnswerForm.COMPLETION_DICT
    elif chat_id and message_id and not task:
        form = AnswerForm.CHAT_EVENTS
    else:
        form = AnswerForm.COMPLETION_CHUNKS
    return HostCall(
        body=body,
        function_id=function_id,
        host_model_id=host_model_id,
        user_id=user_id_of(handles),
        session_id=text_of(metadata.get("session_id")),
        chat_id=chat_id,
        message_id=message_id,
        task=text_of(task),
        # A chore may come with the metadata of the chat it is done for.
        hand_over=NOTHING_HANDED_OVER if task else read_hand_over(metadata),
        form=form,
        handles=handles,
    )
