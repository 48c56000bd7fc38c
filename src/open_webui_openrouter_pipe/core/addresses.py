"""Which addresses of the web may be fetched: the spelling of a URL, and where its name leads.

The list of what is allowed is short and everything else is refused: a spelling that two readers
could understand differently, and a network that is not the public internet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import quote

from .errors import AddressRefusedError

_LONGEST_URL = 4096
_DEFAULT_PORTS = {"https": 443, "http": 80}

# No user name, no backslash, no percent sign can stand in the host: what does not match is refused.
_URL = re.compile(
    r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?((?:/|\?|#).*)?", re.IGNORECASE
)
# The last label begins with a letter: 127.1, 0x7f.0.0.1 and 2130706433 are numbers, not names.
_NAME = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
_KEPT_CHARACTERS = "!#$%&'()*+,-./:;=?@[]_~"

# https://www.iana.org/assignments/iana-ipv4-special-registry and ...-ipv6-special-registry. Spelled
# out: what `ipaddress` calls global differs between versions of Python, and lets relays through.
_SPECIAL_V4 = tuple(
    map(
        ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24"),
            *("192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24"),
            *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
        ),
    )
)
# Everything outside of it is local, reserved, or IPv4 in disguise (::ffff:0:0/96, 64:ff9b::/96).
_PUBLIC_V6 = ip_network("2000::/3")
_SPECIAL_V6 = tuple(
    map(
        ip_network,
        # Teredo and other protocols, documentation, 6to4, AS112, documentation.
        ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
    )
)
_ISATAP = b"\x5e\xfe"

# Where clouds tell a machine its secrets. The others are link-local, or in 192.0.0.0/24.
_METADATA = frozenset(map(ip_address, ("168.63.129.16", "100.100.100.200", "fd00:ec2::254")))

# What an admin may open by name: networks of their own, and never a metadata service.
_OWN_NETWORKS = tuple(
    map(
        ip_network,
        (
            *("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
            *("::1/128", "fc00::/7"),
        ),
    )
)


@dataclass(frozen=True, slots=True)
class AddressRules:
    """What may be asked besides `https` on its own port."""

    trusted_origins: frozenset[str] = frozenset()
    """Scheme, host and port of servers that the admin has named, as `read_origins` writes them."""
    ports: frozenset[int] = frozenset({443})


@dataclass(frozen=True, slots=True)
class WebAddress:
    """A URL whose spelling is beyond doubt."""

    scheme: str
    host: str
    """A name, or an IP address in its one normal form, without brackets."""
    port: int
    target: str
    """Path and query, as they stand in a request."""

    @property
    def is_literal(self) -> bool:
        """Whether the host is an IP address itself."""
        return ":" in self.host or self.host.rpartition(".")[2].isdigit()

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def url(self) -> str:
        """All of it, spelled out."""
        return self.origin + self.target


def read_address(url: str, rules: AddressRules) -> WebAddress:
    """Read a URL; raises `AddressRefusedError` for one that the rules do not allow.

    Where its name leads is another question: `may_connect` answers it.
    """
    address = _spelled(url)
    if address is None:
        raise AddressRefusedError(
            "Its address is not spelled the way it must be: https://, a host, a path."
        )
    if address.origin in rules.trusted_origins:
        return address
    if address.scheme != "https":
        raise AddressRefusedError(f"{address.host} can only be asked over https.")
    if address.port not in rules.ports:
        raise AddressRefusedError(f"Port {address.port} of {address.host} may not be asked.")
    if not address.is_literal and "." not in address.host:
        raise not_public(address)
    return address


def not_public(address: WebAddress) -> AddressRefusedError:
    """The refusal of a host that is not on the public internet; it does not say where it is."""
    return AddressRefusedError(f"{address.host} is not a server on the public internet.")


def read_origins(entries: Iterable[str]) -> frozenset[str]:
    """The origins in a list of them; `https` where no scheme is given, unreadable ones left out."""
    full = (entry if "://" in entry else f"https://{entry}" for entry in entries)
    return frozenset(address.origin for address in map(_spelled, full) if address is not None)


def _spelled(url: str) -> WebAddress | None:
    # What is not ASCII is escaped: fine in a path, while no host can hold a percent sign.
    escaped = quote(url, safe=_KEPT_CHARACTERS, errors="replace")
    found = _URL.fullmatch(escaped) if len(escaped) <= _LONGEST_URL else None
    if found is None:
        return None
    scheme, host, port, rest = found.groups(default="")
    normal_host = _normal_host(host.lower())
    number = int(port) if port else _DEFAULT_PORTS[scheme.lower()]
    if not normal_host or not 0 < number < 65536:
        return None
    target = rest.partition("#")[0]
    if not target.startswith("/"):
        target = f"/{target}"
    return WebAddress(scheme.lower(), normal_host, number, target)


def _normal_host(host: str) -> str:
    if _NAME.fullmatch(host):
        return host if len(host) <= 253 else ""
    try:
        if host.startswith("["):
            return str(IPv6Address(host[1:-1]))
        return str(IPv4Address(host))  # four decimal numbers, no leading zeros
    except ValueError:
        return ""


def may_connect(ip: str, *, is_trusted: bool) -> bool:
    """Whether a connection to this IP address is allowed; `is_trusted` if the admin named the host.

    A name counts as public only if every address it leads to does.
    """
    try:
        address = ip_address(ip)
    except ValueError:
        return False
    if address in _METADATA:
        return False
    if is_trusted and any(address in network for network in _OWN_NETWORKS):
        return True
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_V4)
    return (
        address in _PUBLIC_V6
        and address.scope_id is None
        and address.packed[10:12] != _ISATAP
        and not any(address in network for network in _SPECIAL_V6)
    )
