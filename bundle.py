"""The bundler's command line: writes dist/pipe.py from the modules, or checks it."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from build.builder import build, verified_build, where
from build.config import Config, read_config
from build.findings import Refused
from build.report import report
from build.write import MAP_NAME

SHOWN_DIFFERENCES = 20
CONTENTS_NUMBER = re.compile(r"^# +\d+  ")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0 when it is done, 1 when there is something to mend."""
    options = _options(arguments)
    source = "pyproject.toml"
    try:
        config = read_config(options.root)
        source = config.package
        if (options.check or options.where is not None) and not config.output_path.exists():
            print(f"{config.output} does not exist; run: python bundle.py", file=sys.stderr)
            return 1
        if options.where is not None:
            print(where(config, options.where))
            return 0
        if options.check:
            return _check(config)
        if options.report:
            built = build(config)
            print("\n".join(report(config, built.bundle, built.sections)))
            return 0
        return _write(config)
    except Refused as refused:
        for finding in refused.findings:
            print(finding, file=sys.stderr)
        print(f"refused: {len(refused.findings)} to mend in {source}", file=sys.stderr)
        return 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    command = parser.add_mutually_exclusive_group()
    command.add_argument("--check", action="store_true", help="exit 1 if the bundle is stale")
    command.add_argument("--where", type=int, metavar="LINE", help="the source of a bundle line")
    command.add_argument("--report", action="store_true", help="size per room and load time")
    home = Path(__file__).resolve().parent
    parser.add_argument("--root", type=Path, default=home, help="the project, if not this one")
    return parser.parse_args(arguments)


def _write(config: Config) -> int:
    text = verified_build(config).bundle.text
    config.output_path.parent.mkdir(parents=True, exist_ok=True)
    config.output_path.write_text(text, encoding="utf-8", newline="\n")
    print(f"{config.output}: {len(text.encode()) / 1024:.1f} KB, {text.count(chr(10))} lines")
    return 0


def _check(config: Config) -> int:
    text = build(config).bundle.text
    written = config.output_path.read_text(encoding="utf-8")
    if written == text:
        print(f"{config.output} is what the source builds")
        return 0
    print(_difference(config, written, text), file=sys.stderr)
    return 1


def _difference(config: Config, written: str, text: str) -> str:
    """How many lines differ, and the first of them; moved line numbers alone say nothing."""
    old, new = _without_line_numbers(written), _without_line_numbers(text)
    names = (config.output, "what the source builds")
    lines = list(difflib.unified_diff(old, new, *names, n=0, lineterm=""))
    added = sum(line.startswith("+") for line in lines[2:])
    removed = sum(line.startswith("-") for line in lines[2:])
    shown = [*lines[:SHOWN_DIFFERENCES], *(["..."] if len(lines) > SHOWN_DIFFERENCES else [])]
    head = f"{config.output} is stale (+{added} -{removed} lines); run: python bundle.py"
    return "\n".join([head, *shown])


def _without_line_numbers(text: str) -> list[str]:
    code = text.split(f"\n{MAP_NAME}:", maxsplit=1)[0]
    return [CONTENTS_NUMBER.sub("#   ", line) for line in code.split("\n")]


if __name__ == "__main__":
    sys.exit(main())
