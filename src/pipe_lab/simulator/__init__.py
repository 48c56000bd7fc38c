"""An OpenRouter on loopback: obeys scripts from tests, and answers a person sensibly."""

from __future__ import annotations

from .answers import Answer, FunctionCall, GeneratedImage, Message, Reasoning, Speech, WebSearch
from .error_bodies import (
    broken_off,
    error_availability,
    error_chat_choice,
    error_event,
    error_event_wrapped,
    error_failed_response,
    error_in_success,
    error_plain,
    error_reply,
    error_validation,
)
from .recording import RecordedRequest
from .remote import RemoteSimulator
from .replies import Reply, answer_reply, chat_answer_reply, chat_text_reply, text_reply
from .server import Simulator

__all__ = [
    "Answer",
    "FunctionCall",
    "GeneratedImage",
    "Message",
    "Reasoning",
    "RecordedRequest",
    "RemoteSimulator",
    "Reply",
    "Simulator",
    "Speech",
    "WebSearch",
    "answer_reply",
    "broken_off",
    "chat_answer_reply",
    "chat_text_reply",
    "error_availability",
    "error_chat_choice",
    "error_event",
    "error_event_wrapped",
    "error_failed_response",
    "error_in_success",
    "error_plain",
    "error_reply",
    "error_validation",
    "text_reply",
]
