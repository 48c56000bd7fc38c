"""What the bundler says when it refuses: a place, a problem, a remedy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One reason why the source cannot be flattened, at the line where it stands."""

    path: str
    line: int
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.problem}; {self.remedy}"


class Refused(Exception):
    """The build stops: every finding, in the order of the files."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(sorted(set(findings)))
        super().__init__("\n".join(str(finding) for finding in self.findings))


def refuse_if_any(findings: Iterable[Finding]) -> None:
    """Raise `Refused` when there is at least one finding."""
    found = tuple(findings)
    if found:
        raise Refused(found)
