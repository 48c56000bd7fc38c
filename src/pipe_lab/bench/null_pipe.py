"""
title: Null pipe
"""

# The floor Open WebUI itself sets: the same text, yielded at once, with nothing upstream.

import re


class Pipe:
    def pipes(self):
        return [{"id": "floor", "name": "Null pipe"}]

    async def pipe(self, body, __metadata__=None):
        found = re.search(r"deltas=(\d+)", str(body["messages"][-1]["content"]))
        text = " word" * int(found.group(1) if found else 200)
        if (__metadata__ or {}).get("message_id"):
            return self._chat(text)
        return self._stream(text)

    async def _chat(self, text):
        part = {"type": "output_text", "text": "", "annotations": []}
        item = {"type": "message", "id": "msg_1", "role": "assistant", "content": []}
        added = {"output_index": 0, "item": {**item, "status": "in_progress"}}
        yield {"type": "response.output_item.added", **added}
        yield {
            "type": "response.content_part.added",
            "output_index": 0,
            "content_index": 0,
            "part": part,
        }
        yield {
            "type": "response.output_text.delta",
            "output_index": 0,
            "content_index": 0,
            "delta": text,
        }
        done = {**item, "status": "completed", "content": [{**part, "text": text}]}
        yield {"type": "response.output_item.done", "output_index": 0, "item": done}
        usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
        yield {"type": "response.completed", "response": {"id": "r", "output": [], "usage": usage}}

    async def _stream(self, text):
        yield text
