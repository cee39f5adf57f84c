"""Which network addresses keys may be fetched from (`client_auth.block_local_jwks`, `jwks_reject_ip_ranges`). Pure.

A rule is about the address that is connected to, never about a name: a name can be made to mean another address at any time.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from syncline.errors import ConfigError

__all__ = ["ANY_ADDRESS", "LOCAL", "AddressRules", "read_address_rules"]

LOCAL = "local"  # in a list of ranges: every address that the public internet does not route to one host
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are the IPv4 address that is reached


@dataclass(frozen=True, slots=True)
class AddressRules:
    """What is refused: ranges, local addresses, all of IPv6."""

    ranges: tuple[_Network, ...] = ()
    local: bool = False
    ipv6: bool = False

    def refusal(self, address: str) -> str | None:
        """The code with which an address (as the resolver gave it) is refused: PSYNC_S2202, PSYNC_S2203; None: it is allowed."""
        parsed = ipaddress.ip_address(address)
        if self.ipv6 and parsed.version == 6:
            return "PSYNC_S2202"
        embedded = _embedded(parsed)
        if self.local and _is_local(embedded or parsed):
            return "PSYNC_S2203"
        forms = [parsed] if embedded is None else [parsed, embedded]
        return "PSYNC_S2203" if any(form in network for form in forms for network in self.ranges) else None


ANY_ADDRESS = AddressRules()


def read_address_rules(*, block_local: bool, ranges: Sequence[str]) -> AddressRules:
    """The rules of a configuration. Raises ConfigError, which names the entry of `ranges` that is no range."""
    networks: list[_Network] = []
    for index, text in enumerate(ranges):
        if text == LOCAL:
            continue
        try:
            networks.append(ipaddress.ip_network(text.strip(), strict=False))
        except ValueError:
            raise ConfigError(
                f"client_auth.jwks_reject_ip_ranges[{index}] is not a range of addresses.",
                code="PSYNC_S2201",
                hint="Write a range such as 10.0.0.0/8 or fd00::/8, or `local`.",
            ) from None
    return AddressRules(tuple(networks), local=block_local or LOCAL in ranges, ipv6=block_local)


def _embedded(address: _Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to: mapped, 6to4, Teredo, or NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


def _is_local(address: _Address) -> bool:
    not_public = not address.is_global or address.is_multicast or address.is_reserved
    return not_public or (isinstance(address, ipaddress.IPv6Address) and address.is_site_local)
