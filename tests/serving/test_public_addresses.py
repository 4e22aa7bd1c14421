"""Only public addresses are reached: none of this machine, its network, or of a name that means one of these."""

import asyncio

import pytest

from tests.helpers.served import need_server

need_server()

from httpcore2 import ConnectError  # noqa: E402

from lasagna.serving.public_addresses import PublicBackend, is_public  # noqa: E402

PUBLIC = ("93.184.215.14", "1.1.1.1", "223.255.255.254", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "2a00::1")
NOT_PUBLIC = {
    4: """0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1
        172.31.255.255 192.0.0.8 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1
        224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255""",
    6: """:: ::1 fe80::1 fe80::1%1 fec0::1 fc00::1 fd00:ec2::254 ff02::1 100::1 2001::1 2001:db8::1 2002:7f00:1::
        3fff::1 64:ff9b::7f00:1 64:ff9b:1::7f00:1 ::127.0.0.1 5f00::1 4000::1 2606:2800::1%eth0""",
}


def test_addresses_of_the_public_network_and_of_others():
    assert all(map(is_public, PUBLIC))
    v4, v6 = (text.split() for text in NOT_PUBLIC.values())
    others = [*v4, *v6, *(f"::ffff:{address}" for address in (*v4, "1.1.1.1")), "", "localhost", "1.1.1", "0x7f.1"]
    assert [address for address in others if is_public(address)] == []


def connected(monkeypatch, found):
    """Connect to a name that means other addresses each time; return whom it asked for, and what it reached."""
    asked, reached, backend = [], [], PublicBackend()

    class Network:
        async def connect_tcp(self, host, *_):
            reached.append(host)

    async def connect():
        async def getaddrinfo(host, port, **_):
            asked.append(host)
            return [(2, 1, 6, "", (address, port)) for address in found[len(asked) - 1]]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo, raising=False)
        backend._backend = Network()
        await backend.connect_tcp("pictures.example", 80)

    asyncio.run(connect())
    return asked, reached


def test_a_name_is_resolved_once_and_the_checked_address_reached(monkeypatch):
    asked, reached = connected(monkeypatch, [["1.1.1.1", "2a00::1"], ["127.0.0.1"]])
    assert (asked, reached) == (["pictures.example"], ["1.1.1.1"])


@pytest.mark.parametrize("found", [["127.0.0.1"], ["1.1.1.1", "10.0.0.1"], ["2a00::1", "::ffff:127.0.0.1"]])
def test_a_name_of_which_one_address_is_not_public_is_not_reached(monkeypatch, found):
    with pytest.raises(ConnectError):
        connected(monkeypatch, [found])


@pytest.mark.parametrize("host", ["localhost", "127.1", "0x7f000001", "2130706433", "017700000001", "[::1]", "0"])
def test_other_spellings_of_this_machine_are_not_reached(host):
    with pytest.raises(ConnectError):
        asyncio.run(PublicBackend().connect_tcp(host, 80))
