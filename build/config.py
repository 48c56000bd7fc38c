"""What `pyproject.toml` says about the bundle: its source, its place, its first lines."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .findings import Finding, Refused


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a build needs to know besides the source itself."""

    root: Path
    package: str
    output: str
    frontmatter: tuple[tuple[str, str], ...]
    max_kilobytes: int
    floors: tuple[tuple[str, ...], ...] = ()
    program: str = ""
    """`module:function` of the package, run when the bundle is started as a program."""

    @property
    def package_path(self) -> Path:
        return self.root / self.package

    @property
    def output_path(self) -> Path:
        return self.root / self.output

    def value(self, key: str) -> str:
        """The frontmatter's value of `key`."""
        return dict(self.frontmatter)[key]


def read_config(root: Path) -> Config:
    """Read the project file that stands in `root`."""
    data = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    try:
        return _config(root, data)
    except KeyError as missing:
        problem = f"the bundle needs the key {missing}"
        raise Refused([Finding("pyproject.toml", 1, problem, "add it")]) from missing


def _config(root: Path, data: Mapping[str, Any]) -> Config:
    bundle = data["tool"]["bundle"]
    package = bundle["package"]
    config = Config(
        root=root,
        package=package,
        output=bundle["output"],
        frontmatter=_frontmatter(data["project"], bundle),
        max_kilobytes=bundle["max_kilobytes"],
        floors=_floors(data, Path(package).name),
        program=bundle.get("program", ""),
    )
    broken = [key for key, value in config.frontmatter if "\n" in value or '"""' in value]
    if broken:
        problem = f"the frontmatter value of {broken[0]} is not one plain line"
        raise Refused([Finding("pyproject.toml", 1, problem, "write it on one line")])
    return config


def _frontmatter(
    project: Mapping[str, Any], bundle: Mapping[str, Any]
) -> tuple[tuple[str, str], ...]:
    return (
        ("title", bundle["title"]),
        ("author", ", ".join(author["name"] for author in project["authors"])),
        ("author_url", project["urls"]["Homepage"]),
        ("git_url", project["urls"]["Repository"]),
        ("description", project["description"]),
        ("version", project["version"]),
        ("required_open_webui_version", bundle["required_open_webui_version"]),
        ("license", project["license"]),
    )


def _floors(data: Mapping[str, Any], package: str) -> tuple[tuple[str, ...], ...]:
    """The floors of the house, lowest first, as import-linter's layers contract declares them."""
    contracts = data["tool"].get("importlinter", {}).get("contracts", ())
    for contract in contracts:
        if contract["type"] == "layers":
            layers = (layer.replace(":", "|").split("|") for layer in contract["layers"])
            floors = [tuple(_room(name, package) for name in layer) for layer in layers]
            return tuple(reversed(floors))
    return ()


def _room(name: str, package: str) -> str:
    return name.strip(" ()").removeprefix(f"{package}.")
