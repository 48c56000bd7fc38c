"""How Open WebUI takes a function's text: rewrites it, reads its first lines, runs it."""

from __future__ import annotations

import re
import sys
import uuid
from types import CodeType, ModuleType

REPLACEMENTS = {
    f"from {name}": f"from open_webui.{name}" for name in ("utils", "apps", "main", "config")
}
KEY_AND_VALUE = re.compile(r"^\s*([a-z_]+):\s*(.*)\s*$", re.IGNORECASE)


def replace_imports(text: str) -> str:
    """The text as Open WebUI stores and runs it."""
    for old, new in REPLACEMENTS.items():
        text = text.replace(old, new)
    return text


def read_frontmatter(text: str) -> dict[str, str]:
    """What Open WebUI finds between a first line of three quotes and the next line with them."""
    lines = text.split("\n")
    if lines[0].strip() != '"""':
        return {}
    found: dict[str, str] = {}
    for line in lines[1:]:
        if '"""' in line:
            break
        match = KEY_AND_VALUE.match(line)
        if match:
            found[match.group(1).strip().lower()] = match.group(2).strip()
    return found


def load_as_open_webui(text: str, function_id: str = "openrouter") -> ModuleType:
    """Run the text in a fresh module with a random name, which stays known under that name."""
    return execute(compile(replace_imports(text), "<string>", "exec"), function_id)


def execute(code: CodeType, function_id: str = "openrouter") -> ModuleType:
    """Run compiled text in a fresh module, as `load_as_open_webui` does."""
    module = ModuleType(f"function_{function_id}_{uuid.uuid4().hex}")
    sys.modules[module.__name__] = module
    try:
        exec(code, module.__dict__)
    except BaseException:
        del sys.modules[module.__name__]
        raise
    return module
