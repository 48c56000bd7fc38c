"""Our own error log names the source, also where only the flat file runs."""

from __future__ import annotations

from open_webui_openrouter_pipe.core.source_map import source_of, trace_of

LINE_MAP = {"core/errors.py": ((100, 10, 20), (130, 50, 5)), "pipe.py": ((200, 1, 10),)}


def test_a_line_of_the_flat_file_has_its_source() -> None:
    assert source_of(105, LINE_MAP) == "core/errors.py:15 (pipe.py line 105)"
    assert source_of(134, LINE_MAP) == "core/errors.py:54 (pipe.py line 134)"
    assert source_of(209, LINE_MAP) == "pipe.py:10 (pipe.py line 209)"


def test_a_line_of_the_bundler_keeps_its_number() -> None:
    assert source_of(125, LINE_MAP) == "pipe.py line 125"


def test_a_trace_tells_what_and_where() -> None:
    try:
        raise ValueError("no")
    except ValueError as error:
        trace = trace_of(error)
    assert trace.startswith("ValueError: no")
    assert trace.endswith("in test_a_trace_tells_what_and_where")
