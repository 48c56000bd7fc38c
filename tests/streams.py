"""Streams as bytes: what they say, read without the pipe, and what the pipe makes of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from open_webui_openrouter_pipe.api.events import Event, ImageItem, ItemFinished
from open_webui_openrouter_pipe.api.gateway.chat_reader import ChatReader
from open_webui_openrouter_pipe.api.gateway.responses_reader import ResponsesReader
from open_webui_openrouter_pipe.core.ids import PARSED_DETAIL
from open_webui_openrouter_pipe.streaming.collector import Collector
from open_webui_openrouter_pipe.streaming.completion_chunks import CompletionChunks
from open_webui_openrouter_pipe.streaming.completion_dict import CompletionDict
from open_webui_openrouter_pipe.streaming.response_events import ResponseEvents

Json = dict[str, Any]

_ENDS = {"stop": "completed", "tool_calls": "completed"}
"""What a finish reason says of an answer that was not cut."""


@dataclass
class Said:
    """What one stream says."""

    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    """Call id, name and arguments."""
    images: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    """The pages it cites, each once."""
    cost: float | None = None
    end: str = "failed"
    """`completed`, `cut` or `failed`."""


def tells_of_documents(item: Json) -> bool:
    """Whether it is the card that says what was read in a document, and no thought."""
    return [detail["type"] for detail in item.get("reasoning_details", [])] == [PARSED_DETAIL]


@dataclass
class Shown:
    """What three readers see of one stream."""

    chat: list[Json]
    chunks: list[bytes]
    whole: Json
    images: list[str]

    def items(self) -> list[Json]:
        """The output list, as Open WebUI builds it from the events."""
        items: list[Json] = []
        for event in self.chat:
            place = event.get("output_index", -1)
            match event.get("type"):
                case "response.output_item.added" | "response.output_item.done":
                    items[place : place + 1] = [json.loads(json.dumps(event["item"]))]
                case "response.content_part.added":
                    items[place]["content"].append(dict(event["part"]))
                case "response.output_text.delta":
                    items[place]["content"][event["content_index"]]["text"] += event["delta"]
                case _:
                    pass
        return items

    def of_chat(self) -> Said:
        """What a chat keeps."""
        said = Said(images=self.images)
        for item in self.items():
            match item["type"]:
                case "message":
                    said.text += "".join(part["text"] for part in item["content"])
                case "reasoning" if not tells_of_documents(item):
                    parts = [*item["summary"], *item.get("content", [])]
                    said.reasoning += "".join(part["text"] for part in parts)
                case "function_call" if not item["call_id"].startswith("openrouter:"):
                    said.calls.append((item["call_id"], item["name"], item["arguments"]))
                case _:
                    pass
        for event in self.chat:
            self._read_rest(event, said)
        return said

    @staticmethod
    def _read_rest(event: Json, said: Said) -> None:
        aside = event.get("event", {})
        if aside.get("type") == "source":
            said.urls += [entry["source"] for entry in aside["data"]["metadata"]]
        elif aside.get("type") == "status" and "cut off" in aside["data"]["description"]:
            said.end = "cut"
        usage = event.get("response", event).get("usage") or {}
        said.cost = usage.get("cost", said.cost)
        if event.get("type") == "response.completed" and said.end != "cut":
            said.end = "completed"

    def of_client(self) -> Said:
        """What an API client that streams can put together."""
        said = Said()
        for piece in self.chunks[:-1]:
            chunk = json.loads(piece.removeprefix(b"data: "))
            for choice in chunk.get("choices", []):
                said.text += choice["delta"].get("content", "")
                said.reasoning += choice["delta"].get("reasoning", "").replace("\n\n", "")
                said.images += [
                    part["image_url"]["url"] for part in choice["delta"].get("images", [])
                ]
                reason = choice.get("finish_reason")
                said.end = {None: said.end, **_ENDS}.get(reason, "cut")
            said.cost = (chunk.get("usage") or {}).get("cost", said.cost)
        return said

    def of_object(self) -> Said:
        """What a caller that waits gets."""
        said = Said(cost=self.whole.get("usage", {}).get("cost"))
        for choice in self.whole.get("choices", []):
            said.text = choice["message"]["content"]
            said.images = [p["image_url"]["url"] for p in choice["message"].get("images", [])]
            said.reasoning = choice["message"].get("reasoning", "").replace("\n\n", "")
            reason = choice["finish_reason"]
            said.end = {"error": "failed", **_ENDS}.get(reason, "cut")
        return said


def cut(body: bytes, size: int) -> list[bytes]:
    """The body in pieces of so many bytes."""
    return [body[start : start + size] for start in range(0, len(body), size)]


def show(chunks: list[bytes], *, is_chat: bool) -> Shown:
    """Let the pipe read a stream and render it for all three readers."""
    return Shown(
        chat=_render(ResponseEvents(show_usage=False, clock=lambda: 0.0), chunks, is_chat),
        chunks=_render(CompletionChunks("m"), chunks, is_chat),
        whole=_render(CompletionDict("m", with_output=False), chunks, is_chat)[-1],
        images=_images(chunks, is_chat),
    )


def _render(renderer: Any, chunks: list[bytes], is_chat: bool) -> list[Any]:
    collector = Collector()
    pieces: list[Any] = []
    for batch in _batches(chunks, is_chat):
        pieces += renderer.render(collector.take(batch))
    assert collector.ended
    return pieces


def _batches(chunks: list[bytes], is_chat: bool) -> Iterator[list[Event]]:
    reader = ChatReader() if is_chat else ResponsesReader()
    for chunk in chunks:
        yield reader.feed(chunk)
    yield reader.end()


def _images(chunks: list[bytes], is_chat: bool) -> list[str]:
    collector = Collector()
    ordered = [e for batch in _batches(chunks, is_chat) for e in collector.take(batch)]
    items = [event.item for event in ordered if isinstance(event, ItemFinished)]
    return [item.data_url for item in items if isinstance(item, ImageItem)]


def payloads(body: bytes) -> Iterator[Any]:
    """The objects of a stream; what is no JSON is passed over, `[DONE]` becomes `None`."""
    for event in body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n"):
        data = b"\n".join(
            line.removeprefix(b"data:").strip()
            for line in event.split(b"\n")
            if line.startswith(b"data:")
        )
        if data == b"[DONE]":
            yield None
        elif data:
            try:
                yield json.loads(data.decode())
            except ValueError:
                continue


def read_plainly(body: bytes, *, is_chat: bool) -> Said:
    """What an undamaged stream says."""
    return _read_chat(body) if is_chat else _read_responses(body)


def _read_responses(body: bytes) -> Said:
    said = Said()
    texts: dict[int, str] = {}
    thoughts: dict[int, str] = {}
    for data in payloads(body):
        kind = (data or {}).get("type", "")
        if kind in ("response.output_text.delta", "response.refusal.delta"):
            texts[data["output_index"]] = texts.get(data["output_index"], "") + data["delta"]
        elif kind.startswith("response.reasoning") and kind.endswith("text.delta"):
            thoughts[data["output_index"]] = thoughts.get(data["output_index"], "") + data["delta"]
        elif kind == "response.output_item.done":
            _read_item(data["output_index"], data["item"], said, texts)
        elif kind in ("response.completed", "response.incomplete", "response.failed"):
            said.cost = (data["response"].get("usage") or {}).get("cost")
            said.end = {"completed": "completed", "incomplete": "cut"}.get(kind[9:], "failed")
    said.text = "".join(texts[index] for index in sorted(texts))
    said.reasoning = "".join(thoughts[index] for index in sorted(thoughts))
    return said


def _read_item(index: int, item: Json, said: Said, texts: dict[int, str]) -> None:
    if item["type"] == "message":
        parts = item["content"]
        texts[index] = "".join(part.get("text", part.get("refusal")) for part in parts)
        notes = [note for part in parts for note in part.get("annotations", [])]
        _cite([note["url"] for note in notes if note["type"] == "url_citation"], said)
    elif item["type"] == "function_call":
        said.calls.append((item["call_id"], item["name"], item["arguments"]))
    elif "image_generation" in item["type"]:
        said.images.append(item.get("result") or item.get("imageUrl"))


def _cite(urls: list[str], said: Said) -> None:
    said.urls += [url for url in dict.fromkeys(urls) if url not in said.urls]


def _read_chat(body: bytes) -> Said:
    said = Said()
    calls: dict[int, list[str]] = {}
    done = False
    for data in payloads(body):
        done = done or data is None
        choices = (data or {}).get("choices") or [{}]
        delta = choices[0].get("delta") or {}
        said.text += (delta.get("content") or "") + (delta.get("refusal") or "")
        said.text += (delta.get("audio") or {}).get("transcript", "")
        said.reasoning += delta.get("reasoning") or ""
        for call in delta.get("tool_calls", []):
            known = calls.setdefault(call["index"], [call.get("id", ""), "", ""])
            known[1] += call["function"].get("name") or ""
            known[2] += call["function"].get("arguments") or ""
        said.images += [image["image_url"]["url"] for image in delta.get("images", [])]
        notes = [note for note in delta.get("annotations", []) if note["type"] == "url_citation"]
        _cite([note["url_citation"]["url"] for note in notes], said)
        said.cost = ((data or {}).get("usage") or {}).get("cost", said.cost)
        if reason := choices[0].get("finish_reason"):
            said.end = _ENDS.get(reason, "cut")
        if (data or {}).get("error"):
            said.end = "failed"
            break
    said.calls = [(call_id, name, text or "{}") for call_id, name, text in calls.values()]
    return said
