"""Each thing the flat file cannot carry is refused at its line, with a remedy."""

from __future__ import annotations

import pytest

# Line 1 is the future import, line 2 is blank: the first line of a text below is line 3.
OTHER = {"core/other.py": "LIMIT = 1\n"}

REFUSALS = {
    "import cycle": (
        {"a.py": "from .b import B\nA = 1\n", "b.py": "from .a import A\nB = 1\n"},
        "b.py:3: an import cycle: b.py:3 imports a, a.py:3 imports b",
    ),
    "global statement": (
        {"a.py": "def f():\n    global json\n    json = 1\n"},
        "a.py:4: a global statement for json",
    ),
    "name of an exception": (
        {"a.py": "try:\n    import lz4\nexcept ImportError as json:\n    lz4 = None\n"},
        "a.py:5: the exception's name json at top level",
    ),
    "star import of ours": (
        {**OTHER, "a.py": "from .core.other import *\n"},
        "a.py:3: a star import",
    ),
    "star import from outside": ({"a.py": "from math import *\n"}, "a.py:3: a star import"),
    "alias on our own name": (
        {**OTHER, "a.py": "from .core.other import LIMIT as MOST\n"},
        "a.py:3: our own LIMIT under the alias MOST",
    ),
    "late import of ours": (
        {**OTHER, "a.py": "def f():\n    from .core.other import LIMIT\n    return LIMIT\n"},
        "a.py:4: an import of our own inside a function or class",
    ),
    "import of ours under TYPE_CHECKING": (
        {
            **OTHER,
            "a.py": "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from .core.other import LIMIT\n",
        },
        "a.py:5: an import of our own under TYPE_CHECKING",
    ),
    "absolute import of ours": (
        {**OTHER, "a.py": "from small.core.other import LIMIT\n"},
        "a.py:3: an absolute import of the package itself",
    ),
    "plain absolute import of ours": (
        {**OTHER, "a.py": "import small.core.other\n"},
        "a.py:3: an absolute import of the package itself",
    ),
    "import of a module as a name": (
        {**OTHER, "a.py": "from .core import other\n"},
        "a.py:3: core is no module of the package",
    ),
    "from . import module": (
        {"b.py": "B = 1\n", "a.py": "from . import b\n"},
        "a.py:3: the package is no module of the package",
    ),
    "import from a missing module": (
        {"a.py": "from .nowhere import X\n"},
        "a.py:3: nowhere is no module of the package",
    ),
    "import of a missing name": (
        {**OTHER, "a.py": "from .core.other import MISSING\n"},
        "a.py:3: core.other does not define MISSING; define it there",
    ),
    "import of a name by way of another module": (
        {
            **OTHER,
            "b.py": "from .core.other import LIMIT\nB = LIMIT\n",
            "a.py": "from .b import LIMIT\n",
        },
        "a.py:3: b does not define LIMIT; import it from core.other",
    ),
    "import from above the package": (
        {"a.py": "from ..outside import X\n"},
        "a.py:3: .outside is no module of the package",
    ),
    "code in an __init__": (
        {"core/__init__.py": '"""The core."""\n\nX = 1\n'},
        "core/__init__.py:3: an __init__.py that holds more than its docstring",
    ),
    "no postponed annotations": (
        {"a.py": '"""A module."""\n\nX = 1\n'},
        "a.py:1: no `from __future__ import annotations`",
    ),
    "another future": (
        {"a.py": "from __future__ import generator_stop\n"},
        "a.py:3: __future__.generator_stop would hold for the whole flat file",
    ),
    "__file__": ({"a.py": "HERE = __file__\n"}, "a.py:3: __file__ has no meaning there"),
    "__package__": (
        {"a.py": "def f():\n    return __package__\n"},
        "a.py:4: __package__ has no meaning there",
    ),
    "__path__": ({"a.py": "X = [__path__]\n"}, "a.py:3: __path__ has no meaning there"),
    "__spec__": ({"a.py": "X = [__spec__]\n"}, "a.py:3: __spec__ has no meaning there"),
    "importlib.resources": (
        {"a.py": "import importlib.resources\n"},
        "a.py:3: importlib.resources has no meaning there",
    ),
    "resources from importlib": (
        {"a.py": "from importlib import resources\n"},
        "a.py:3: importlib.resources has no meaning there",
    ),
    "inspect.getsource": (
        {"a.py": "import inspect\ndef f(o):\n    return inspect.getsource(o)\n"},
        "a.py:5: inspect.getsource has no meaning there",
    ),
    "getsource from inspect": (
        {"a.py": "from inspect import getsource\n"},
        "a.py:3: inspect.getsource has no meaning there",
    ),
    "module __getattr__": (
        {"a.py": "def __getattr__(name):\n    return name\n"},
        "a.py:3: a module-level __getattr__",
    ),
    "command line": (
        {"a.py": "if __name__ == '__main__':\n    X = 1\n"},
        'a.py:3: an `if __name__ == "__main__"`',
    ),
    "loop at module level": (
        {"a.py": "for X in (1, 2):\n    Y = X\n"},
        "a.py:3: a module-level for runs at import",
    ),
    "code under TYPE_CHECKING": (
        {"a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    X = 1\n"},
        "a.py:4: TYPE_CHECKING with more than imports",
    ),
    "TYPE_CHECKING with another branch": (
        {
            "a.py": "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    import json\nelse:\n    import json\n"
        },
        "a.py:4: TYPE_CHECKING with more than imports",
    ),
    "TYPE_CHECKING inside a function": (
        {
            "a.py": "from typing import TYPE_CHECKING\n"
            "def f():\n    return 1 if TYPE_CHECKING else 2\n"
        },
        "a.py:5: TYPE_CHECKING used in another way",
    ),
    "two statements on one line": (
        {"a.py": "import time; START = 1\n"},
        "a.py:3: two statements on one line",
    ),
    "letter outside ASCII": (
        {"a.py": "A = 1\n# a \N{MIDDLE DOT} b\n"},
        "a.py:4: '\N{MIDDLE DOT}' is not ASCII",
    ),
    "letter outside ASCII in a room's sentence": (
        {**OTHER, "core/__init__.py": '"""One\N{HORIZONTAL ELLIPSIS}"""\n'},
        "core/__init__.py:1: '\N{HORIZONTAL ELLIPSIS}' is not ASCII",
    ),
    "words the host rewrites, in a docstring": (
        {"a.py": "def f():\n    '''Taken from " + "configuration.'''\n"},
        "a.py:4: Open WebUI would rewrite the words 'from config'",
    ),
    "words the host rewrites, in an __init__": (
        {"core/__init__.py": '"""Taken from ' + 'utilsville."""\n'},
        "core/__init__.py:1: Open WebUI would rewrite the words 'from utils'",
    ),
    "words the host rewrites, in a comment": (
        {"a.py": "X = 1  # from " + "mainland\n"},
        "a.py:3: Open WebUI would rewrite the words 'from main'",
    ),
    "words the host rewrites, in code": (
        {"a.py": "X = 'from " + "apps'\n"},
        "a.py:3: Open WebUI would rewrite the words 'from apps'",
    ),
    "syntax error": ({"a.py": "def f(:\n"}, "a.py:3: syntax error"),
}


@pytest.mark.parametrize(("files", "said"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refuses_at_the_line_with_a_remedy(refused, files, said):
    findings = [str(finding) for finding in refused(files)]
    assert [finding for finding in findings if finding.startswith(said)], findings
    assert len(findings) == 1
    assert all("; " in finding for finding in findings)


def test_an_optional_import_of_our_own_is_refused(refused):
    text = "try:\n    from .core.other import LIMIT\nexcept ImportError:\n    LIMIT = 0\n"
    first = refused({**OTHER, "a.py": text})[0]
    assert (first.path, first.line) == ("a.py", 4)
    assert first.problem == "an import of our own inside a try"


HARMLESS = {
    "overloads": "from typing import overload\n"
    "@overload\ndef f(x: int) -> int: ...\n@overload\ndef f(x: str) -> str: ...\n"
    "def f(x):\n    return x\n",
    "late import from outside": "def f():\n    import json as j\n    return j.dumps({})\n",
    "own name in the pipe": "def f():\n    return __name__\n",
    "TYPE_CHECKING by its full name": "import typing\nif typing.TYPE_CHECKING:\n    import json\n",
    "comprehension variables": "X = [X for X in (1, 2)]\nY = {X: X for X in (1, 2)}\n",
    "globals": "def f():\n    return globals().get('BUNDLE_MAP')\n",
}


@pytest.mark.parametrize("text", HARMLESS.values(), ids=HARMLESS.keys())
def test_lets_pass_what_does_no_harm(refused, text):
    assert refused({"a.py": text}) == ()


def test_all_refusals_of_a_build_come_at_once_in_the_order_of_the_files(refused):
    findings = refused({"b.py": "HERE = __file__\n", "a.py": "from math import *\nX = __file__\n"})
    assert [(finding.path, finding.line) for finding in findings] == [
        ("a.py", 3),
        ("a.py", 4),
        ("b.py", 3),
    ]
