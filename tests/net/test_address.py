"""Only the open Internet is reached, and what was judged is what is connected to."""

from __future__ import annotations

import socket
import ssl

import pytest
import trustme
from seedvr2_anywhere import net
from seedvr2_anywhere.net import address

PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "64:ff9b::808:808"]
NOT_PUBLIC = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0",
    "fc00::1", "fd12::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a00:1", "2002:7f00:1::",
]  # fmt: skip


def resolver(*answers: str):
    """A getaddrinfo that gives the answers one call at a time, the last one for ever; `.calls` counts."""

    def getaddrinfo(host, port, **_):
        getaddrinfo.calls += 1
        found = answers[min(getaddrinfo.calls, len(answers)) - 1]
        return [(socket.AF_INET, 1, 6, "", (one, port)) for one in found.split(",")]

    getaddrinfo.calls = 0
    return getaddrinfo


def get(session, url):
    with net.open_get(session, url) as response:
        return response.status_code, net.read_limited(response, 1 << 20)


@pytest.mark.parametrize("one", PUBLIC)
def test_public_addresses_pass(one):
    assert address.is_public(one)


@pytest.mark.parametrize("one", NOT_PUBLIC)
def test_private_addresses_are_refused_in_every_notation(one):
    assert not address.is_public(one)
    with pytest.raises(net.Refused, match="not a public address"):
        address.resolve("models.example", 443, net.Rules(), resolver(one))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://models.example/a", "only https"),
        ("ftp://models.example/a", "only https"),
        ("models.example/a", "no plain host"),
        ("file:///etc/passwd", "no plain host"),
        ("https://", "no plain host"),
        ("https://user:pass@models.example/a", "user name or password"),
        ("https://good.example\\@evil.example/a", "backslashes"),
        ("https://models.example/a b", "white space"),
        ("https://models.example/a\r\nX: 1", "white space"),
        ("https://models.example:8443/a", "port 8443"),
        ("https://models.example:99999/a", "cannot be read"),
        ("https://127.0.0.1/a", "not a public address"),
        ("https://[::1]/a", "not a public address"),
        ("https://169.254.169.254/latest/meta-data", "not a public address"),
        ("http://127.0.0.1:8188/", "only https"),
    ],
)
def test_a_bad_form_is_refused_before_anything_is_resolved(url, reason):
    asked = resolver("8.8.8.8")
    with pytest.raises(net.Refused, match=reason):
        get(net.guarded_session(getaddrinfo=asked), url)
    assert asked.calls == 0


@pytest.mark.parametrize("name", ["localhost", "0x7f.1", "2130706433", "rebind.example"])
def test_a_name_that_leads_home_is_refused_without_a_connection(server, name):
    port = int(server.base.rsplit(":", 1)[1])
    asked = resolver("127.0.0.1") if name == "rebind.example" else socket.getaddrinfo
    session = net.guarded_session(net.Rules(ports=frozenset({port})), asked)
    with pytest.raises((net.Refused, net.Unreachable)):
        get(session, f"https://{name}:{port}/a")
    assert server.connections == 0


def test_one_bad_address_among_good_ones_refuses_the_name():
    with pytest.raises(net.Refused):
        address.resolve("models.example", 443, net.Rules(), resolver("8.8.8.8,127.0.0.1"))


def test_the_name_is_resolved_once_and_the_judged_address_is_the_one_dialled():
    dialled = []

    def connect(where, timeout):
        dialled.append(where)
        raise ConnectionRefusedError("nobody there")

    asked = resolver("93.184.216.34", "127.0.0.1")
    with pytest.raises(net.Unreachable):
        get(net.guarded_session(getaddrinfo=asked, connect=connect), "https://models.example/a")
    assert (asked.calls, dialled) == (1, [("93.184.216.34", 443)])


@pytest.mark.parametrize(("certified", "works"), [("models.example", True), ("other.example", False)])
def test_tls_still_verifies_the_name_of_a_pinned_connection(servers, monkeypatch, tmp_path, certified, works):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(certified).configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    with servers.running(context) as server:
        server.files["/a"] = b"inside"
        port = int(server.base.rsplit(":", 1)[1])
        session = net.guarded_session(
            net.Rules(),
            resolver("93.184.216.34"),
            lambda where, timeout: socket.create_connection(("127.0.0.1", port), timeout),
        )
        if works:
            assert get(session, "https://models.example/a") == (200, b"inside")
        else:
            with pytest.raises(net.Unreachable, match="certificate"):
                get(session, "https://models.example/a")
            assert server.seen == []


@pytest.mark.parametrize(
    ("url", "loopback", "ports"),
    [
        ("https://hub.example", False, {443}),
        ("https://mirror.example:8443/hf", False, {443, 8443}),
        ("http://127.0.0.1:9000", True, {443, 9000}),
        ("http://localhost:9000", True, {443, 9000}),
        ("http://[::1]:9000", True, {443, 9000}),
        ("http://192.168.1.5:9000", False, {443, 9000}),
        ("http://127.0.0.1.evil.example", False, {443, 80}),
    ],
)
def test_rules_of_a_configured_base_allow_loopback_only_when_it_is_loopback(url, loopback, ports):
    assert net.Rules.for_base(url) == net.Rules(loopback, frozenset(ports))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.example/f?X-Signature=SECRET", "https://a.example/f?…"),
        ("https://me:SECRET@a.example/f#SECRET", "https://a.example/f"),
        ("https://a.example/" + "x" * 500, "https://a.example/" + "x" * (200 - 18) + "…"),
        ("https://[bad", "(unreadable address)"),
    ],
)
def test_secrets_of_an_address_are_never_shown(url, shown):
    assert net.mask(url) == shown


def test_the_environments_proxy_is_not_asked_for_loopback(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    server.files["/a"] = b"x"
    assert get(net.guarded_session(net.Rules(loopback=True)), server.base + "/a") == (200, b"x")


def test_a_proxy_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with pytest.raises(net.Unreachable, match="proxy"):
        get(net.guarded_session(getaddrinfo=resolver("8.8.8.8")), "https://models.example/a")


def test_no_credentials_of_the_users_netrc_leave_the_machine(server, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password SECRET\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    server.files["/a"] = b"x"
    get(net.guarded_session(net.Rules(loopback=True)), server.base + "/a")
    assert "authorization" not in server.seen[0][1]
