"""Every cause of failure a person can act on, each with its words.

PipeError
|-- SettingsError            a valve needs the admin's hand
|   `-- ApiKeyError          the key is missing or cannot be used
|-- HostTooOldError          this Open WebUI cannot show what the pipe sends
|-- ModelUnavailableError    the chosen entry is not a model that may be used
|-- EndpointConflictError    the request needs an endpoint that a rule forbids
|-- UnsupportedInputError    a message holds something that cannot be sent
|-- FileNotStoredError       what the model made could not be kept
|-- SealedPayloadError       what was kept cannot be opened
|-- BudgetSpentError         what may be spent is spent
|-- LedgerError              what was spent cannot be told
|-- AddressRefusedError      an address that must not be fetched
|-- DownloadFailedError      a file of the web that did not come
|-- BusyError                every slot and every waiting place is taken
|-- ConnectionFailedError    OpenRouter could not be reached
|-- UpstreamTimeoutError     OpenRouter fell silent
|-- StreamInterruptedError   the answer stopped before its end
|-- OpenRouterAPIError       OpenRouter or a provider refused or failed
`-- InternalError            a fault of the pipe itself
"""

from __future__ import annotations

from dataclasses import dataclass

from .redaction import redact_text


class PipeError(Exception):
    """What happened and what to do about it, in words for the person who sees it."""

    def __init__(self, cause: str, next_step: str = "") -> None:
        self.cause = redact_text(cause)
        super().__init__(self.cause)
        self.next_step = next_step
        self.explanation = ""
        """The admin's words for it, once a turn has ended with it."""

    def for_person(self) -> str:
        """The text of the message's error."""
        if self.explanation:
            return self.explanation
        return f"{self.cause}\n\n{self.next_step}" if self.next_step else self.cause


class SettingsError(PipeError):
    """A valve is missing or cannot be used."""


class ApiKeyError(SettingsError):
    """The API key is missing, unreadable, or not one that a header can carry."""


class HostTooOldError(PipeError):
    """Open WebUI is older than the oldest version the pipe works on."""


class ModelUnavailableError(PipeError):
    """The chosen entry is not a model, or one that the settings keep back."""


class EndpointConflictError(PipeError):
    """A rule of the admin forbids the endpoint that the request needs."""

    def __init__(
        self, cause: str, next_step: str = "", *, required: str = "", enforced: str = ""
    ) -> None:
        super().__init__(cause, next_step)
        self.required_endpoint = required
        self.enforced_endpoint = enforced


class UnsupportedInputError(PipeError):
    """A message holds something that no request can carry."""


class FileNotStoredError(PipeError):
    """What the model made could not become a file of Open WebUI."""


class SealedPayloadError(PipeError):
    """What was kept is damaged, belongs elsewhere, or needs another key."""


class BudgetSpentError(PipeError):
    """A budget of the admin's is spent, until its day or month is over."""


class LedgerError(PipeError):
    """The spend ledger is off, or cannot be read."""


class AddressRefusedError(PipeError):
    """An address in a message leads where the server must not go."""


class DownloadFailedError(PipeError):
    """A file of the web did not come, or not in a form that can be used."""


class BusyError(PipeError):
    """Every slot and every waiting place of this process is taken."""


class ConnectionFailedError(PipeError):
    """OpenRouter could not be reached, or hung up before it answered."""

    def __init__(
        self,
        cause: str,
        next_step: str = "",
        *,
        request_was_sent: bool = True,
        name_was_found: bool = True,
    ) -> None:
        super().__init__(cause, next_step)
        self.request_was_sent = request_was_sent
        """Whether the request may have arrived; then it must not be sent again."""
        self.name_was_found = name_was_found
        """Whether the server's name leads anywhere; a wrong one is wrong the next time too."""


class UpstreamTimeoutError(PipeError):
    """OpenRouter did not answer, or fell silent, within the time the settings allow."""


class StreamInterruptedError(PipeError):
    """The answer stopped without the event that ends one."""


class InternalError(PipeError):
    """A fault of the pipe itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiFailure:
    """What an error answer of OpenRouter says, whatever its shape."""

    message: str
    status: int | None = None
    """HTTP status, or the number in `error.code` when the failure came inside a stream."""
    code: str = ""
    error_type: str = ""
    """OpenRouter's canonical name of the cause (`ApiErrorType` of the API description)."""
    provider: str = ""
    upstream_message: str = ""
    """What the provider itself said, when OpenRouter's own message is only a wrapper."""
    retry_after: float | None = None
    """Seconds."""
    may_pass: bool = True
    """Whether OpenRouter leaves it open that the same request succeeds later."""
    generation_id: str = ""
    moderation_reasons: tuple[str, ...] = ()
    flagged_excerpt: str = ""
    """The part of the input that a moderation objects to."""
    rate_limit_scope: str = ""
    """Whose limit it is: `openrouter_free_models_per_min`, `upstream_provider_shared_pool`, ..."""
    requested_tokens: int | None = None
    """What the request would have taken, as far as the message says; so the ones below."""
    affordable_tokens: int | None = None
    context_limit: int | None = None
    """Tokens the model can read."""
    required_cost: float | None = None
    """USD."""
    account_balance: float | None = None
    """USD."""


class OpenRouterAPIError(PipeError):
    """OpenRouter, or the provider behind it, refused the request or failed on it."""

    def __init__(self, failure: ApiFailure) -> None:
        super().__init__(describe_failure(failure), advise_on_failure(failure))
        self.failure = failure


def describe_failure(failure: ApiFailure) -> str:
    """Say who failed and how: the provider's own words where there are any."""
    message = failure.upstream_message or failure.message or "No reason was given."
    speaker = failure.provider if failure.upstream_message and failure.provider else "OpenRouter"
    status = f" ({failure.status})" if failure.status else ""
    return f"{speaker}{status}: {message}"


_ADVICE_BY_STATUS = {
    400: "Choose another model, or check its parameters and the attachments of this chat.",
    401: "The admin should check `API_KEY` in the settings of the OpenRouter function.",
    402: "Add credits at https://openrouter.ai/settings/credits or choose a cheaper model.",
    403: "The request was blocked by a policy; rephrase it or choose another model.",
    404: "Choose another model, or loosen the provider and privacy settings.",
    408: "Try again; a shorter chat answers faster.",
    413: "Remove attachments or start a new chat: the request is too large.",
    429: "Wait a moment and try again, or choose another model.",
}


def advise_on_failure(failure: ApiFailure) -> str:
    """Say what to do next, by status."""
    if failure.context_limit is not None:
        return "Shorten the chat, start a new one, or choose a model that reads longer chats."
    if failure.status == 429 and failure.retry_after is not None:
        return f"Try again in {failure.retry_after:.0f} seconds, or choose another model."
    if failure.status is not None and failure.status in _ADVICE_BY_STATUS:
        return _ADVICE_BY_STATUS[failure.status]
    if failure.status is not None and 300 <= failure.status < 400:
        return "The address has moved; the admin should check `BASE_URL`."
    if failure.status is not None and failure.status < 500:
        return "Change the request or choose another model."
    return "Try again in a moment, or choose another model."
