"""What stands in a request itself: looked at, limited, named as what it is, or left out."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from open_webui_openrouter_pipe.core.context import HostHandles
from open_webui_openrouter_pipe.core.hand_over import HAND_OVER_KEY, read_hand_over
from open_webui_openrouter_pipe.models.family import ModelFamily
from open_webui_openrouter_pipe.requests.attachments import attach_files
from open_webui_openrouter_pipe.storage.downloads import Downloads
from open_webui_openrouter_pipe.storage.encoded_files import EncodedFiles, LargeFiles
from tests.host_parts import StoredRow, stored_files
from tests.requests.contexts import context

PNG = b"\x89PNG\r\n\x1a\n" + bytes(3000)
PDF = b"%PDF-1.4\n" + bytes(3000)
MP3 = b"ID3\x04" + bytes(3000)
WAV = b"RIFF\x00\x00\x00\x00WAVE" + bytes(3000)
MP4 = b"\x00\x00\x00\x18ftypmp42" + bytes(3000)
PROGRAM = b"\x7fELF\x02" + bytes(3000)
ALL = ModelFamily("a/one", "One", input_modalities=frozenset({"text", "image", "audio", "video"}))
TEXT = ModelFamily("a/one", "One")
LEFT_OUT = "A picture was left out: this model takes no pictures."


async def attach(body: Any, context: Any, family: ModelFamily | None, files: EncodedFiles) -> Any:
    return await attach_files(body, context, family, files, LargeFiles())


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def url(content: bytes, claim: str = "image/png") -> str:
    return f"data:{claim};base64,{encoded(content)}"


def image(address: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": address}}


def document(address: str, name: str = "a.pdf") -> dict[str, Any]:
    return {"type": "file", "file": {"filename": name, "file_data": address}}


def sound(content: bytes, kind: str) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": encoded(content), "format": kind}}


def video(address: str) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": address}}


def said(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


async def fit(
    *messages: dict[str, Any], family: ModelFamily | None = ALL, **valves: Any
) -> tuple[list[list[dict[str, Any]]], list[str]]:
    """The contents that go out, and what the person is told."""
    files = EncodedFiles(Downloads(no_name))
    body, told = await attach({"messages": list(messages)}, context(**valves), family, files)
    return [message["content"] for message in body["messages"]], told


async def no_name(host: str) -> list[str]:
    raise OSError


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (image(url(PNG)), None),
        (image(url(PNG, "image/jpeg")), image(url(PNG))),
        (image(url(PDF, "image/png")), document(url(PDF, "application/pdf"), "A picture")),
        (document(url(PDF, "application/pdf")), None),
        (document(url(PNG, "application/pdf")), image(url(PNG))),
        (document(url(MP3, "audio/mp3"), "a.mp3"), sound(MP3, "mp3")),
        (
            document(url(b"Hello", "text/plain"), "a.txt"),
            {"type": "text", "text": '<file name="a.txt">\nHello\n</file>'},
        ),
        (sound(MP3, "mp3"), None),
        (sound(WAV, "mp3"), sound(WAV, "wav")),
        (video(url(MP4, "video/mp4")), None),
        (video("https://www.youtube.com/watch?v=1"), None),
        ({"type": "file", "file": {"file_id": "file-1"}}, None),
        ({"type": "input_image", "image_url": url(PNG)}, None),
        ({"type": "input_file", "filename": "a", "file_data": url(PNG, "a/b")}, image(url(PNG))),
    ],
)
async def test_a_file_goes_out_as_what_it_is(part: Any, expected: Any) -> None:
    contents, told = await fit(said(part))
    assert contents == [[expected or part]]
    assert told == []


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (image(url(PROGRAM)), "A picture was left out: it is no kind of file that models read."),
        (image("data:image/png,nothing"), "it is damaged"),
        (image("data:image/png;base64,!"), "it is no kind of file"),
        (document(url(PROGRAM, "application/pdf")), "“a.pdf” was left out: it is no kind"),
        (image("https://10.0.0.1/a.png"), "not a server on the public internet"),
        (image("http://files.test/a.png"), "only be asked over https"),
        (document("file:///etc/passwd"), "not spelled the way it must be"),
    ],
)
async def test_what_cannot_go_out_is_told_to_person_and_model(part: Any, reason: str) -> None:
    contents, told = await fit(said({"type": "text", "text": "Look"}, part))
    ((_, note),) = contents
    (words,) = told
    assert reason in words
    assert note == {"type": "text", "text": f"[{words}]"}


async def test_limits_hold_before_anything_is_decoded() -> None:
    large = url(PDF + bytes(2 * 1024 * 1024), "application/pdf")
    film = url(MP4 + bytes(2 * 1024 * 1024), "video/mp4")
    _, told = await fit(said(document(large), image(large), video(film)), BASE64_MAX_SIZE_MB=1)
    assert told == [
        "A picture was left out: it is larger than 1 MB.",
        "“a.pdf” was left out: it is larger than 1 MB.",
    ]
    _, told = await fit(said(video(film)), VIDEO_MAX_SIZE_MB=1)
    assert told == ["A video was left out: it is larger than 1 MB."]


async def test_few_words_cannot_name_more_than_a_request_may_hold() -> None:
    parts = [document(url(PDF + bytes(900_000), "application/pdf")) for _ in range(4)]
    contents, told = await fit(said(*parts), BASE64_MAX_SIZE_MB=1, VIDEO_MAX_SIZE_MB=1)
    assert [part["type"] for part in contents[0]] == ["text", "text", "file", "file"]
    assert told == ["“a.pdf” was left out: with the others it is larger than 2 MB."] * 2


async def test_a_model_gets_only_what_it_takes_and_the_person_is_told_once() -> None:
    parts = (image(url(PNG)), sound(MP3, "mp3"), video(url(MP4, "video/mp4")))
    contents, told = await fit(said(*parts), family=TEXT)
    assert [part["type"] for part in contents[0]] == ["text"] * 3
    assert told == [
        "A video was left out: this model takes no video.",
        "A recording was left out: this model takes no sound.",
        LEFT_OUT,
    ]
    answer = {"role": "assistant", "content": "Fine."}
    contents, told = await fit(
        said(image(url(PNG))), answer, {"role": "user", "content": "And?"}, family=TEXT
    )
    assert (contents[0], told) == ([{"type": "text", "text": f"[{LEFT_OUT}]"}], [])
    assert await fit(said(*parts), family=None) == ([list(parts)], [])


async def test_the_newest_pictures_count() -> None:
    pictures = [image(url(PNG + bytes([number]))) for number in range(4)]
    answer = {"role": "assistant", "content": "Fine."}
    contents, told = await fit(
        said(*pictures[:2]), answer, said(*pictures[2:]), MAX_INPUT_IMAGES_PER_REQUEST=3
    )
    assert [part["type"] for part in contents[0]] == ["text", "image_url"]
    assert (contents[2], told) == (pictures[2:], [])
    _, told = await fit(said(*pictures), MAX_INPUT_IMAGES_PER_REQUEST=3)
    assert told == ["A picture was left out: only the 3 newest pictures go out."]


async def test_nothing_else_changes() -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]},
        {"role": "tool", "tool_call_id": "1", "content": "done"},
    ]
    files = EncodedFiles()
    body, told = await attach({"messages": messages, "seed": 1}, context(), ALL, files)
    assert (body, told) == ({"messages": messages, "seed": 1}, [])


async def test_what_has_no_place_is_not_downloaded() -> None:
    asked: list[str] = []

    async def lookup(host: str) -> list[str]:
        asked.append(host)
        return ["10.0.0.1"]

    links = [image(f"https://files{number}.test/") for number in range(3)]
    for family, messages in (
        (TEXT, [said(*links)]),
        (ALL, [said(*links), {"role": "assistant", "content": "Fine."}, said(image(url(PNG)))]),
    ):
        valves = context(MAX_INPUT_IMAGES_PER_REQUEST=1)
        files = EncodedFiles(Downloads(lookup))
        await attach({"messages": list(messages)}, valves, family, files)
    assert asked == []


async def test_the_links_of_a_message_are_fetched_together_four_at_once() -> None:
    running: set[str] = set()
    together: list[int] = []
    enough = asyncio.Event()

    async def lookup(name: str) -> list[str]:
        running.add(name)
        together.append(len(running))
        if len(running) == 4:
            enough.set()
        await enough.wait()
        running.remove(name)
        return ["10.0.0.1"]

    links = [document(f"https://files{number}.test/", f"{number}.pdf") for number in range(7)]
    async with asyncio.timeout(5):
        files = EncodedFiles(Downloads(lookup))
        _, told = await attach({"messages": [said(*links)]}, context(), ALL, files)
    assert max(together) == 4
    assert [words[1] for words in told] == list("6543210")


async def test_a_storage_that_fails_costs_the_file_and_not_the_answer(
    put_in_host: Callable[..., None],
) -> None:
    class Storage:
        @staticmethod
        def get_file(path: str) -> str:
            raise RuntimeError("Error downloading file from S3: 404")

    files = stored_files(StoredRow("file-1", "s3://a"))
    put_in_host(**{**files, "storage__provider": {"Storage": Storage}})
    body = {"messages": [said(document("file-1"))]}
    _, told = await attach(body, replace(context(), host=signed_in()), ALL, EncodedFiles())
    assert told == ["“a.pdf” was left out: it could not be read."]


def signed_in(**metadata: Any) -> HostHandles:
    user = SimpleNamespace(state=SimpleNamespace(user=SimpleNamespace(id="u")))
    return HostHandles(request=user, metadata={"user_id": "u", **metadata})


@pytest.fixture
def shelf(put_in_host: Callable[..., None], tmp_path: Path) -> None:
    """Two documents that Open WebUI has read, and somebody else's."""
    (tmp_path / "a.pdf").write_bytes(PDF)
    path = str(tmp_path / "a.pdf")
    mine = [StoredRow(name, path, text="Foxes live in dens.") for name in ("one", "two")]
    put_in_host(**stored_files(*mine, StoredRow("theirs", path, owner="eve", text="Secret.")))


async def fit_handed(handed: dict[str, Any], *ids: str) -> tuple[list[Any], list[str]]:
    """The parts of the newest message, with these files, and what the person is told."""
    files = [{"type": "file", "id": file_id, "name": f"{file_id}.pdf"} for file_id in ids]
    host = signed_in(user_message={"files": files})
    asked = replace(context(hand_over=read_hand_over({HAND_OVER_KEY: handed})), host=host)
    body = {"messages": [{"role": "user", "content": "Look"}]}
    fitted, told = await attach(body, asked, TEXT, EncodedFiles())
    content = fitted["messages"][-1]["content"]
    return ([] if isinstance(content, str) else content[1:]), told


@pytest.mark.usefixtures("shelf")
async def test_what_was_taken_out_of_retrieval_goes_out_and_the_rest_stays() -> None:
    parts, told = await fit_handed({}, "one", "two")
    assert (parts, told) == ([], [])
    parts, told = await fit_handed(
        {"uploads": [{"id": "one"}], "kept_uploads": {"two": "it is larger than 1 MB"}},
        "one",
        "two",
    )
    assert parts == [document(url(PDF, "application/pdf"), "one.pdf")]
    assert told == ["“two.pdf” stayed in Open WebUI's retrieval: it is larger than 1 MB."]


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize("filters", [[], ["openrouter_direct_uploads"]])
@pytest.mark.parametrize("listed", [[], [{"type": "file", "id": "one"}]])
async def test_after_an_approval_a_file_is_not_lost(filters: list[str], listed: list[Any]) -> None:
    """Open WebUI goes on without the filter's word, and without what it has taken out."""
    host = signed_in(filter_ids=filters, files=listed)
    asked = replace(context(), host=host)
    fitted, _ = await attach({"messages": [said(document("one"))]}, asked, TEXT, EncodedFiles())
    is_lost = bool(filters) and not listed
    assert ("file_data" in str(fitted["messages"])) is is_lost


async def test_what_is_no_file_for_a_model_goes_out_as_the_text_that_was_read_in_it(
    put_in_host: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_bytes("caf\N{LATIN SMALL LETTER E WITH ACUTE};2".encode("cp1252"))
    put_in_host(**stored_files(StoredRow("one", str(tmp_path / "a.csv"), text="caf;2")))
    parts, told = await fit_handed({"uploads": [{"id": "one"}]}, "one")
    assert parts == [{"type": "text", "text": '<file name="one.pdf">\ncaf;2\n</file>'}]
    assert told == ["“one.pdf” went out as the text that Open WebUI read in it."]


@pytest.mark.usefixtures("shelf")
async def test_why_a_file_stayed_is_told_in_its_own_turn_only() -> None:
    handed = {HAND_OVER_KEY: {"kept_uploads": {"one": "it is larger than 1 MB"}}}
    asked = replace(context(hand_over=read_hand_over(handed)), host=signed_in())
    earlier = [said(document("one")), {"role": "assistant", "content": "Fine."}]
    for messages, count in ((earlier[:1], 1), ([*earlier, said(image(url(PNG)))], 0)):
        _, told = await attach({"messages": messages}, asked, ALL, EncodedFiles())
        assert len(told) == count


@pytest.mark.usefixtures("shelf")
async def test_what_was_taken_out_of_retrieval_goes_out_though_no_message_names_it() -> None:
    parts, told = await fit_handed({"uploads": [{"id": "one", "name": "x.pdf"}, {}, 7]})
    assert (parts, told) == ([document(url(PDF, "application/pdf"), "x.pdf")], [])


@pytest.mark.usefixtures("shelf")
async def test_somebody_elses_file_never_goes_out() -> None:
    for handed in ({"uploads": [{"id": "theirs"}]}, {"kept_uploads": {"theirs": "it is large"}}):
        parts, told = await fit_handed(handed, "theirs")
        assert told == ["“theirs.pdf” was left out: it is no longer there, or not yours to read."]
        assert [part["type"] for part in parts] == ["text"]


async def test_a_database_that_fails_costs_the_files_and_not_the_answer(
    put_in_host: Callable[..., None],
) -> None:
    def broken() -> Any:
        raise RuntimeError("database is locked")

    columns = dict.fromkeys(("id", "parent_id", "role", "files", "chat_id"), None)
    put_in_host(
        internal__db={"get_async_db_context": broken},
        models__chat_messages={"ChatMessage": SimpleNamespace(**columns)},
    )
    body = {"messages": [said(image(url(PNG)))]}
    metadata = {"user_message": {"parentId": "message-1"}}
    asking = replace(context(chat_id="chat-1"), host=HostHandles(metadata=metadata))
    fitted, told = await attach(body, asking, ALL, EncodedFiles())
    assert fitted == body
    assert told == ["The files of this chat could not be read."]
