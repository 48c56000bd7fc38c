"""
title: Bare pipe
"""

# The least a pipe can do and still answer: the deltas of one read joined, and nothing else.

import json

import aiohttp
from pydantic import BaseModel


def _word_in(line):
    event = json.loads(line[6:]) if line.startswith(b"data: {") else {}
    return event["delta"] if event.get("type") == "response.output_text.delta" else ""


class Pipe:
    class Valves(BaseModel):
        API_KEY: str = ""
        BASE_URL: str = ""

    def __init__(self):
        self.valves = self.Valves()

    def pipes(self):
        return [{"id": "lab.stream-200", "name": "Bare pipe"}]

    async def pipe(self, body, __metadata__=None):
        texts = self._texts(body)
        if (__metadata__ or {}).get("message_id"):
            return self._chat(texts)
        return self._stream(texts)

    async def _texts(self, body):
        asked = {
            "model": body["model"].partition(".")[2].replace(".", "/", 1),
            "input": body["messages"],
            "stream": True,
        }
        headers = {"Authorization": f"Bearer {self.valves.API_KEY}"}
        url = f"{self.valves.BASE_URL}/responses"
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json=asked, headers=headers) as response,
        ):
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                if words := "".join(map(_word_in, lines)):
                    yield words

    async def _stream(self, texts):
        async for text in texts:
            yield text

    async def _chat(self, texts):
        part = {"type": "output_text", "text": "", "annotations": []}
        item = {"type": "message", "id": "msg_1", "role": "assistant", "content": []}
        opened = {"type": "response.output_item.added", "output_index": 0}
        yield {**opened, "item": {**item, "status": "in_progress"}}
        place = {"output_index": 0, "content_index": 0}
        yield {"type": "response.content_part.added", **place, "part": part}
        whole = []
        async for text in texts:
            whole.append(text)
            yield {"type": "response.output_text.delta", **place, "delta": text}
        done = {**item, "status": "completed", "content": [{**part, "text": "".join(whole)}]}
        yield {"type": "response.output_item.done", "output_index": 0, "item": done}
        usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
        yield {"type": "response.completed", "response": {"id": "r", "output": [], "usage": usage}}
