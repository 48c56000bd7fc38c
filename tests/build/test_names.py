"""One namespace for all modules: two names that would meet are refused, with both places."""

from __future__ import annotations

import pytest

CLASHES = {
    "a name defined in two modules": (
        {"a.py": "LIMIT = 1\n", "b.py": "LIMIT = 2\n"},
        "b.py:3: LIMIT stands already at a.py:3",
    ),
    "a private function defined in two modules": (
        {"a.py": "def _parse(): ...\n", "b.py": "X = 1\n\n\nasync def _parse(): ...\n"},
        "b.py:6: _parse stands already at a.py:3",
    ),
    "a name defined twice in one module": (
        {"a.py": "def f(): ...\nclass f: ...\n"},
        "a.py:4: f stands already at a.py:3",
    ),
    "a name bound by unpacking": (
        {"a.py": "LOW, (MID, *HIGH) = 1, (2, 3)\n", "b.py": "HIGH = 1\n"},
        "b.py:3: HIGH stands already at a.py:3",
    ),
    "a definition with the name of an import": (
        {"a.py": "import time\nX = 1\n", "b.py": "def time(): ...\n"},
        "b.py:3: time is also imported at a.py:3",
    ),
    "a definition with the name of an import for types": (
        {
            "a.py": "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from fractions import Fraction\n",
            "b.py": "class Fraction: ...\n",
        },
        "b.py:3: Fraction is also imported at a.py:5",
    ),
    "an alias with two meanings": (
        {"a.py": "from json import loads\n", "b.py": "from pickle import loads\n"},
        "b.py:3: loads means pickle.loads here and json.loads at a.py:3",
    ),
    "a module alias with two meanings": (
        {"a.py": "import json as codec\n", "b.py": "import pickle as codec\n"},
        "b.py:3: codec means pickle here and json at a.py:3",
    ),
    "an optional import beside a plain one": (
        {
            "a.py": "try:\n    import zlib\nexcept ImportError:\n    zlib = None\n",
            "b.py": "import zlib\n",
        },
        "a.py:4: zlib is also imported at b.py:3",
    ),
    "a definition that hides a built-in": (
        {"a.py": "def open(): ...\n"},
        "a.py:3: open hides the built-in in the whole flat file",
    ),
    "an import that hides a built-in": (
        {"a.py": "from codecs import open\n"},
        "a.py:3: open hides the built-in in the whole flat file",
    ),
    "a name that only another module binds": (
        {"a.py": "LIMIT = 1\n", "b.py": "def f():\n    return LIMIT\n"},
        "b.py:4: LIMIT is used and nowhere bound in this module",
    ),
    "a module that only another module imports": (
        {"a.py": "import json\n", "b.py": "class B:\n    x = 1\n    def f(self): json.loads\n"},
        "b.py:5: json is used and nowhere bound in this module",
    ),
    "a name that nobody binds": (
        {"a.py": "def f():\n    return missing\n"},
        "a.py:4: missing is used and nowhere bound in this module",
    ),
    "a parameter used like a module": (
        {"a.py": "import json\n", "b.py": "def f(json):\n    return json.get(1)\n"},
        "b.py:3: the parameter json hides the module at a.py:3",
    ),
    "a keyword parameter used like a module": (
        {"a.py": "import json\n", "b.py": "F = lambda *, json: json.loads('1')\n"},
        "b.py:3: the parameter json hides the module at a.py:3",
    ),
    "the bundler's own name": (
        {"a.py": "BUNDLE_MAP = {}\n"},
        "a.py:3: BUNDLE_MAP is what the bundler itself writes",
    ),
}


@pytest.mark.parametrize(("files", "said"), CLASHES.values(), ids=CLASHES.keys())
def test_refuses_names_that_would_meet(refused, files, said):
    findings = [str(finding) for finding in refused(files)]
    assert len(findings) == 1
    assert findings[0].startswith(said), findings


PEACE = {
    "the same import in two modules": {
        "a.py": "import os.path\nfrom json import loads\n",
        "b.py": "import os\nfrom json import loads\n",
    },
    "branches of one optional import": {
        "a.py": "try:\n    import zlib\nexcept ImportError:\n    zlib = None\n",
        "b.py": "from .a import zlib\ndef f():\n    return zlib\n",
    },
    "a local with the name of another module's constant": {
        "a.py": "limit = 1\n",
        "b.py": "def f(limit):\n    return limit\n",
    },
    "a parameter with a module's name that is only passed on": {
        "a.py": "import json\n",
        "b.py": "def f(json):\n    return [json]\n",
    },
    "a parameter with the name of an imported function": {
        "a.py": "from json import loads\n",
        "b.py": "def f(loads):\n    return loads.x\n",
    },
    "a nested class with the name of a top-level one": {
        "a.py": "class Valves: ...\n",
        "pipe.py": "from .a import Valves\nclass Pipe:\n    class Valves(Valves):\n        pass\n",
    },
    "__all__ everywhere": {"a.py": "__all__ = ['A']\nA = 1\n", "b.py": "__all__ = ()\n"},
}


@pytest.mark.parametrize("files", PEACE.values(), ids=PEACE.keys())
def test_names_that_do_not_meet_are_left_alone(refused, files):
    assert refused(files) == ()
