"""What runs at import: values may be made, nothing may be done."""

from __future__ import annotations

import pytest

EFFECTS = {
    "a file": ("X = open('x')\n", "a.py:3: open() runs at import"),
    "printing": ("X = print('x')\n", "a.py:3: print() runs at import"),
    "a lock": ("import threading\nX = threading.Lock()\n", "a.py:4: threading.Lock() runs"),
    "a lock by its name": ("from asyncio import Lock\nX = Lock()\n", "a.py:4: asyncio.Lock() runs"),
    "logging set-up": (
        "import logging\nX = logging.basicConfig()\n",
        "a.py:4: logging.basicConfig() runs",
    ),
    "a logger of the module's name": (
        "import logging\nX = logging.getLogger(__name__)\n",
        "a.py:4: a logger named __name__",
    ),
    "a registration": (
        "class R:\n    def add(self, x): ...\n\nr = R()\nr.add(1)\n",
        "a.py:7: a module-level call of r.add runs at import",
    ),
    "the environment": ("import os\nX = os.environ['HOME']\n", "a.py:4: reads the environment"),
    "the environment by name": (
        "from os import environ\nX = environ.get('HOME')\n",
        "a.py:4: reads the environment",
    ),
    "os.getenv": ("import os\nX = os.getenv('HOME')\n", "a.py:4: os.getenv() runs at import"),
    "an own function that opens a file": (
        "def load():\n    return open('x')\n\nX = load()\n",
        "a.py:4: open() runs at import",
    ),
    "an own class whose constructor starts a thread": (
        "import threading\nclass R:\n    def __init__(self):\n"
        "        threading.Thread()\n\nX = R()\n",
        "a.py:6: threading.Thread() runs at import",
    ),
    "an own function by way of another": (
        "def inner():\n    return open('x')\ndef outer():\n    return inner()\nX = [outer()]\n",
        "a.py:4: open() runs at import",
    ),
    "a default value": ("def f(x=open('x')):\n    return x\n", "a.py:3: open() runs"),
    "a class body": ("class A:\n    class B:\n        x = open('x')\n", "a.py:5: open() runs"),
    "a decorator": (
        "import atexit\n@atexit.register\ndef f(): ...\n",
        "a.py:4: atexit.register() runs at import",
    ),
    "a base class": ("class A(open('x')):\n    pass\n", "a.py:3: open() runs at import"),
    "a comprehension": ("X = [open(n) for n in 'ab']\n", "a.py:3: open() runs at import"),
    "an optional import's fallback": (
        "try:\n    import nothing\nexcept ImportError:\n    nothing = open('x')\n",
        "a.py:6: open() runs at import",
    ),
}


@pytest.mark.parametrize(("text", "said"), EFFECTS.values(), ids=EFFECTS.keys())
def test_refuses_what_would_be_done_at_import(refused, text, said):
    findings = [str(finding) for finding in refused({"a.py": text})]
    assert len(findings) == 1
    assert findings[0].startswith(said), findings


def test_follows_an_own_function_into_its_module(refused):
    files = {
        "a.py": "import pathlib\ndef load():\n    return pathlib.Path('x')\n",
        "b.py": "from .a import load\nX = load()\n",
    }
    assert [(f.path, f.line, f.problem) for f in refused(files)] == [
        ("a.py", 5, "pathlib.Path() runs at import")
    ]


VALUES = {
    "constants": "X = frozenset('a b'.split())\nY = tuple(sorted(X))\nZ = {'a': len(Y)}\n",
    "patterns": "import re\nX = re.compile('x')\n",
    "a named logger": "import logging\nX = logging.getLogger('small')\n",
    "own values": "from dataclasses import dataclass, field\n@dataclass(frozen=True)\nclass A:\n"
    "    x: list = field(default_factory=list)\n\nX = A()\n",
    "what functions do later": "import os\ndef f(x=1):\n    return os.environ, open('x')\n",
    "what lambdas do later": "import os\nX = {'a': lambda: os.environ}\n",
    "what an own decorator's wrapper does later": "import functools\n\ndef logged(f):\n"
    "    @functools.wraps(f)\n    def inner():\n        print('x')\n        return f()\n"
    "    return inner\n\n@logged\ndef g(): ...\n",
    "valves": "from pydantic import BaseModel, Field, field_validator\n\nclass V(BaseModel):\n"
    "    x: str = Field('')\n    @field_validator('x')\n    @classmethod\n"
    "    def check(cls, value: str) -> str:\n        return value\n",
    "properties": "class A:\n    @property\n    def x(self): ...\n    @x.setter\n"
    "    def x(self, value): ...\n",
    "recursion": "def f(n=2):\n    return f(n - 1) if n else 0\n\nX = f()\n",
}


@pytest.mark.parametrize("text", VALUES.values(), ids=VALUES.keys())
def test_lets_values_be_made(refused, text):
    assert refused({"a.py": text}) == ()
