"""With --target=bundle, an import of a module answers with the bundle's names, and no others."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

import bundle
from tests.build.test_filters import FILES as FILTERS
from tests.bundle_target import answer_from_bundle

FILES = {
    "core/errors.py": "class PipeError(Exception): ...\n\nLIMIT = 1\n",
    "api/client.py": "from ..core.errors import LIMIT, PipeError\n\n"
    "def fail():\n    raise PipeError(LIMIT)\n",
}
Imported = Callable[[str], ModuleType]


@pytest.fixture
def imported(project) -> Iterator[Imported]:
    """Imports modules of the small package from its bundle."""
    config = project({**FILES, **FILTERS})
    assert bundle.main(["--root", str(config.root)]) == 0
    finder = answer_from_bundle(config.root)
    yield importlib.import_module
    sys.meta_path.remove(finder)
    for name in [n for n in sys.modules if n.split(".")[0] == "small"]:
        del sys.modules[name]
    del sys.modules[finder.flat.__name__]


def test_modules_share_the_classes_of_the_one_file(imported: Imported) -> None:
    errors, client = imported("small.core.errors"), imported("small.api.client")
    with pytest.raises(errors.PipeError):
        client.fail()


def test_a_module_has_the_names_it_defines_and_no_others(imported: Imported) -> None:
    assert dir(imported("small.core.errors")) == ["LIMIT", "PipeError"]
    assert not hasattr(imported("small.api.client"), "PipeError")
    with pytest.raises(ImportError):
        exec("from small.api.client import LIMIT", {})


def test_what_is_set_on_a_module_is_set_in_the_file(imported: Imported, monkeypatch) -> None:
    client = imported("small.api.client")
    with monkeypatch.context() as patched:
        patched.setattr("small.core.errors.LIMIT", 9)
        with pytest.raises(Exception, match="9"):
            client.fail()
    with pytest.raises(Exception, match="1"):
        client.fail()


def test_folders_are_packages_and_other_names_do_not_exist(imported: Imported) -> None:
    errors = imported("small.core.errors")
    assert imported("small.core").errors is errors
    with pytest.raises(ModuleNotFoundError):
        imported("small.core.missing")


def test_a_filter_is_run_from_its_embedded_text(imported: Imported) -> None:
    assert imported("small.filters.toggle").Filter.toggle is True
    assert "class Filter" in imported("small.core.reader").filter_text("toggle")


def test_a_stale_bundle_stops_the_run(project) -> None:
    config = project(FILES)
    bundle.main(["--root", str(config.root)])
    project({**FILES, "core/errors.py": "class PipeError(Exception): ...\n\nLIMIT = 2\n"})
    with pytest.raises(pytest.UsageError, match=r"dist/pipe.py is not what the source builds"):
        answer_from_bundle(config.root)


def test_a_source_that_cannot_be_bundled_stops_the_run(project) -> None:
    config = project({"a.py": "from math import *\n"})
    with pytest.raises(pytest.UsageError, match=r"a.py:3: a star import"):
        answer_from_bundle(config.root)
