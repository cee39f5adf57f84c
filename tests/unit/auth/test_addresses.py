"""Which addresses keys may be fetched from."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.auth.addresses import ANY_ADDRESS, read_address_rules
from syncline.errors import ConfigError

PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:0808:0808::1"]
LOCAL = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%lo",
    "fc00::1",
    "fd12:3456::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "2002:7f00:0001::1",
]


@pytest.mark.requirement(115)
@pytest.mark.parametrize("address", LOCAL)
def test_local_addresses_are_refused_in_every_form(address: str) -> None:
    assert read_address_rules(block_local=False, ranges=["local"]).refusal(address) == "PSYNC_S2203"
    assert read_address_rules(block_local=True, ranges=[]).refusal(address) in {"PSYNC_S2202", "PSYNC_S2203"}
    assert ANY_ADDRESS.refusal(address) is None


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert read_address_rules(block_local=False, ranges=["local"]).refusal(address) is None
    ipv6 = ":" in address
    assert read_address_rules(block_local=True, ranges=[]).refusal(address) == ("PSYNC_S2202" if ipv6 else None)


@pytest.mark.requirement(115)
def test_a_range_is_refused_also_where_ipv6_leads_to_it() -> None:
    rules = read_address_rules(block_local=False, ranges=["10.0.0.0/8", "2001:db8::/32", "93.184.216.34"])
    refused = ["10.1.2.3", "2001:db8::7", "93.184.216.34", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "2002:0a01:0203::1"]
    for address in refused:
        assert rules.refusal(address) == "PSYNC_S2203", address
    for address in ("11.0.0.1", "127.0.0.1", "2001:db9::7", "93.184.216.35", "::1"):
        assert rules.refusal(address) is None, address


@given(
    address=st.ip_addresses(),
    network=st.ip_addresses().flatmap(
        lambda found: st.integers(0, found.max_prefixlen).map(lambda bits: f"{found}/{bits}")
    ),
)
def test_an_address_is_refused_exactly_where_a_range_has_it(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, network: str
) -> None:
    rules = read_address_rules(block_local=False, ranges=[network])
    if address in ipaddress.ip_network(network, strict=False):
        assert rules.refusal(str(address)) == "PSYNC_S2203"
    elif address.version == 4:
        assert rules.refusal(str(address)) is None


@pytest.mark.parametrize("text", ["", "10.0.0.0/33", "example.com", "Local", "10.0.0.1-10.0.0.9", "10.0.0"])
def test_what_is_no_range_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(ConfigError, match=r"client_auth\.jwks_reject_ip_ranges\[1\]") as caught:
        read_address_rules(block_local=False, ranges=["local", text])
    assert caught.value.error_code == "PSYNC_S2201"
