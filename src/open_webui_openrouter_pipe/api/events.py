"""The Event language: what an answer is made of, whichever endpoint it came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..core.errors import PipeError
from ..core.json_values import JsonObject
from ..core.money import picodollars


@dataclass(slots=True, frozen=True)
class Usage:
    """What an answer took and cost. `None` means that OpenRouter did not say, which is not zero."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    """Part of `input_tokens`."""
    cache_write_tokens: int | None = None
    """Part of `input_tokens`."""
    reasoning_tokens: int | None = None
    """Part of `output_tokens`."""
    cost: float | None = None
    """USD charged to the OpenRouter account."""
    is_byok: bool | None = None
    cost_details: dict[str, float] = field(default_factory=dict[str, float])
    """USD by part (`upstream_inference_cost`, ...), under OpenRouter's names."""
    last_input_tokens: int | None = None
    """Of the last round alone, where the answer took several; so the one below."""
    last_output_tokens: int | None = None

    @property
    def charged(self) -> float | None:
        """USD spent: with a key of one's own at the provider, `cost` is only OpenRouter's fee."""
        if self.cost is None:
            return None
        return self.cost + self._upstream

    @property
    def picodollars(self) -> int | None:
        """The same in 10^-12 USD, to the last digit."""
        return None if self.cost is None else picodollars(self.cost) + picodollars(self._upstream)

    @property
    def _upstream(self) -> float:
        return self.cost_details.get("upstream_inference_cost", 0.0) if self.is_byok else 0.0


@dataclass(slots=True, frozen=True)
class Citation:
    """A page that the answer leans on."""

    url: str
    title: str = ""
    excerpt: str = ""
    """What the search engine quoted of the page, where it did."""


@dataclass(slots=True)
class MessageItem:
    """Text of the answer."""

    id: str
    text: str = ""
    is_refusal: bool = False
    """Whether the text is the model's refusal to answer."""
    citations: list[Citation] = field(default_factory=list[Citation])
    phase: str = ""
    """`commentary` or `final_answer` where the vendor tells them apart."""
    status: str = "completed"


@dataclass(slots=True)
class ReasoningItem:
    """The model's thinking: a summary, the raw text, or neither when it is encrypted."""

    id: str
    summary: list[str] = field(default_factory=list[str])
    content: list[str] = field(default_factory=list[str])
    details: list[JsonObject] = field(default_factory=list[JsonObject])
    """What must go back with the next request, as chat completions' `reasoning_details`."""
    status: str = "completed"

    @property
    def is_visible(self) -> bool:
        """Whether there is anything of it to read."""
        return any(self.summary) or any(self.content)


@dataclass(slots=True)
class FunctionCallItem:
    """A call of one of our tools."""

    id: str
    call_id: str
    name: str
    arguments: str = ""
    """JSON text, perhaps cut short."""
    status: str = "completed"


@dataclass(slots=True)
class ImageItem:
    """A picture the model drew."""

    id: str
    data_url: str = ""
    """`data:image/...;base64,...`, or an https address; empty while it is being drawn."""
    status: str = "completed"


@dataclass(slots=True)
class MediaItem:
    """Something to play."""

    id: str
    kind: Literal["audio", "video"]
    content: bytearray = field(default_factory=bytearray)
    """Whole at the item's end; sound without a container is 16-bit samples, 24,000 a second."""
    transcript: str = ""
    """What is said in it; the answer's text says the same."""
    status: str = "completed"


@dataclass(slots=True)
class ServerToolItem:
    """Something OpenRouter or the provider did for the answer: a search, a fetch, a calculation."""

    id: str
    type: str
    details: JsonObject = field(default_factory=JsonObject)
    """The item's own fields (`action`, `url`, `title`, ...)."""
    status: str = "completed"


@dataclass(slots=True)
class ToolOutputItem:
    """What a call of one of our tools brought back."""

    id: str
    call_id: str
    text: str
    images: list[str] = field(default_factory=list[str])
    """Pictures for the model: data URLs or https addresses."""
    files: list[JsonObject] = field(default_factory=list[JsonObject])
    """Files for the person, as Open WebUI's messages hold them."""
    embeds: list[str] = field(default_factory=list[str])
    """Pages shown inside the tool's card: HTML, or an address."""
    status: str = "completed"


@dataclass(slots=True)
class OtherItem:
    """An item this version does not know."""

    id: str
    type: str


OutputItem = (
    MessageItem
    | ReasoningItem
    | FunctionCallItem
    | ToolOutputItem
    | ImageItem
    | MediaItem
    | ServerToolItem
    | OtherItem
)


@dataclass(slots=True)
class ResponseStarted:
    """OpenRouter has taken the request."""

    response_id: str
    model: str


@dataclass(slots=True)
class ItemStarted:
    """An item opens at this place of the answer; its text follows."""

    output_index: int
    item: OutputItem


@dataclass(slots=True)
class TextDelta:
    """The next piece of a message."""

    output_index: int
    text: str


@dataclass(slots=True)
class ReasoningDelta:
    """The next piece of reasoning: of part `part_index` of the summary or of the raw text."""

    output_index: int
    part_index: int
    text: str
    is_summary: bool


@dataclass(slots=True)
class ArgumentsDelta:
    """The next piece of a function call's arguments."""

    output_index: int
    text: str


Delta = TextDelta | ReasoningDelta | ArgumentsDelta
"""The next piece of something that comes in pieces."""


@dataclass(slots=True)
class CitationFound:
    """A page that a message leans on."""

    output_index: int
    citation: Citation


@dataclass(slots=True)
class PictureSketched:
    """How far a picture has come that is still being drawn."""

    output_index: int
    data_url: str


@dataclass(slots=True)
class SourcesFound:
    """What a tool leaned on, each as the `data` of Open WebUI's `source` event."""

    sources: list[JsonObject]


@dataclass(slots=True)
class ItemFinished:
    """The whole item, as the API closed it: the truth where deltas were missing."""

    output_index: int
    item: OutputItem


@dataclass(slots=True)
class RetryScheduled:
    """Nothing has come yet; the request goes out again after a pause."""

    error: PipeError
    wait: float
    """Seconds."""


@dataclass(slots=True)
class Working:
    """What is being done, where the answer's first piece takes its time."""

    text: str


@dataclass(slots=True)
class Notice:
    """Something about the answer that the person should know, and that is no part of it."""

    text: str
    in_closing_line: bool = False
    """Whether it is said once the answer is there, and not before."""


@dataclass(slots=True)
class SpendingKnown:
    """What the closing line can tell beside the answer's own usage."""

    chat_cost: float | None = None
    """USD that the chat's answers have cost, this one included; `None` where it is the first."""
    is_whole: bool = True
    """Whether the cost of each answer is known; else they have cost at least so much."""
    credit_left: float | None = None
    """USD left of the key's limit, for an admin who should know."""


@dataclass(slots=True)
class ResponseFinished:
    """The answer is over; `incomplete_reason` says why it was cut (`max_output_tokens`, ...)."""

    response_id: str
    model: str
    usage: Usage | None
    incomplete_reason: str = ""
    provider: str = ""
    """Who ran the model, where the endpoint tells."""


@dataclass(slots=True)
class ResponseFailed:
    """The answer broke off, with what was counted until then."""

    error: PipeError
    usage: Usage | None = None


PlacedEvent = (
    ItemStarted
    | TextDelta
    | ReasoningDelta
    | ArgumentsDelta
    | CitationFound
    | PictureSketched
    | ItemFinished
)
Event = (
    ResponseStarted
    | PlacedEvent
    | SourcesFound
    | RetryScheduled
    | Working
    | Notice
    | SpendingKnown
    | ResponseFinished
    | ResponseFailed
)
