"""The command line of the pasted file: `python pipe.py unlock` reads session archives.

It needs Python and `cryptography`, and no Open WebUI.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ..core.errors import SealedPayloadError
from .archive_file import ARCHIVE_SUFFIX, read_archive
from .payload_codec import PayloadCodec

_PASSPHRASE_VARIABLE = "SESSION_LOG_PASSPHRASE"


def run_command_line(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it is done, 1 when something could not be read, 2 when misused."""
    options = _read_arguments(arguments)
    paths = [path for named in options.archives for path in _archives_in(named)]
    passphrase = os.environ.get(_PASSPHRASE_VARIABLE) or _asked_for()
    if not passphrase:
        _complain(f"no passphrase: set {_PASSPHRASE_VARIABLE}, or type it when asked")
        return 2
    codec = PayloadCodec(passphrase, use_lz4=False)
    try:
        return max([_print_archive(path, codec, options) for path in paths], default=1)
    except BrokenPipeError:  # what reads us has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Tools for what the OpenRouter function of Open WebUI keeps."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    unlock = commands.add_parser(
        "unlock",
        help="read session archives",
        description="Print session archives. "
        f"The passphrase comes from {_PASSPHRASE_VARIABLE}, else it is asked for.",
    )
    add = unlock.add_argument
    add("archives", nargs="+", type=Path, metavar="ARCHIVE", help="a file, or a folder of them")
    add("--list", action="store_true", help="one line for each archive, without its records")
    add(
        "--kind",
        action="append",
        help="only records of this kind: request, item, log, timing, ...",
    )
    add("--grep", default="", metavar="TEXT", help="only records that contain this text")
    add(
        "--outcome",
        metavar="HOW",
        help="only archives of answers that ended so: failed, ...",
    )
    add("--json", action="store_true", help="the records as they are, one JSON object a line")
    return parser.parse_args(arguments)


def _archives_in(named: Path) -> Iterator[Path]:
    if named.is_dir():
        yield from sorted(named.rglob(f"*{ARCHIVE_SUFFIX}"), key=lambda each: each.stat().st_mtime)
    else:
        yield named


def _asked_for() -> str:
    try:
        return getpass.getpass("Passphrase of the archives: ")
    except (EOFError, KeyboardInterrupt):
        return ""


def _print_archive(path: Path, codec: PayloadCodec, options: argparse.Namespace) -> int:
    try:
        session, *records = read_archive(path, codec)
    except (OSError, SealedPayloadError) as error:
        reason = error.cause if isinstance(error, SealedPayloadError) else error.strerror
        _complain(f"{path}: {reason}")
        return 1
    if options.outcome and session["outcome"] != options.outcome:
        return 0
    shown = [record for record in records if _is_wanted(record, options)]
    if records and not shown:
        return 0
    if options.json:
        lines = [_as_json(record) for record in [session, *([] if options.list else shown)]]
    else:
        lines = [_headline(session)]
        lines += [] if options.list else ["", *map(_record_line, shown), ""]
    sys.stdout.write("\n".join([*lines, ""]))
    return 0


def _is_wanted(record: dict[str, Any], options: argparse.Namespace) -> bool:
    if options.kind and record["kind"] not in options.kind:
        return False
    return options.grep.lower() in _as_json(record).lower()


def _headline(session: dict[str, Any]) -> str:
    """The archive in one line; its ids are those that were sealed with it, wherever it lies."""
    began = datetime.fromtimestamp(session["time"]).isoformat(" ", "seconds")
    told = ("outcome", "model", "user_id", "chat_id", "message_id", "request_id")
    dropped = f", {session['dropped']} more dropped" if session["dropped"] else ""
    counts = f"{session['seconds']} s, {session['records']} records{dropped}"
    return "  ".join([began, *(_as_json(session[name])[1:-1] for name in told), counts])


def _record_line(record: dict[str, Any]) -> str:
    fields = {name: value for name, value in record.items() if name not in ("time", "kind")}
    # As JSON: a terminal must not obey what a model has written.
    clock = datetime.fromtimestamp(record["time"]).strftime("%H:%M:%S.%f")[:-3]
    return f"{clock}  {record['kind']:<10}  {_as_json(fields)}"


def _as_json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def _complain(words: str) -> None:
    sys.stderr.write(f"{words}\n")
