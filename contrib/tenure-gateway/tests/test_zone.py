"""The DNS zone: every kind of question, and messages that no resolver sends."""

from __future__ import annotations

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.update
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenure_gateway.directory import Sight
from tenure_gateway.serve.zone import MOST_UDP, Zone, ZoneSettings, parse_domain

from tenure.errors import ConfigError
from tenure.registry import Instance

ZONE = Zone(ZoneSettings(parse_domain("tenure"), ttl=5, negative_ttl=7))


def sight(*instances: Instance) -> Sight:
    services: dict[str, tuple[Instance, ...]] = {}
    for each in instances:
        services[each.service_name] = (*services.get(each.service_name, ()), each)
    return Sight(services, serial=3)


SIGHT = sight(
    Instance("web", id="1", host="10.0.0.1", port=80),
    Instance("web", id="2", host="10.0.0.2", port=81).with_weight(2),
    Instance("web", id="3", host="2001:db8::1", port=82),
    Instance("web", id="4", host="node.example.org", port=83).with_weight(0),
    Instance("web", id="5", host="10.0.0.5", port=80).with_status("draining"),
    Instance("Mail.In", id="1", host="10.0.1.1", port=25),
    Instance("gone", id="1", host="10.0.2.1").with_status("draining"),
    *(Instance("middle", id=str(n), host=f"10.2.0.{n}", port=80) for n in range(1, 41)),
    *(Instance("big", id=str(n), host=f"10.1.{n // 200}.{n % 200 + 1}", port=80) for n in range(1_200)),
)


def ask(
    name: str, kind: str = "A", *, tcp: bool = False, seen: Sight | None = SIGHT, **more: object
) -> dns.message.Message:
    query = dns.message.make_query(name, kind, **more)  # type: ignore[arg-type]
    wire = ZONE.answer(query.to_wire(), seen, tcp=tcp)
    assert wire is not None
    answer = dns.message.from_wire(wire)
    assert query.is_response(answer)
    return answer


def texts(answer: dns.message.Message) -> list[str]:
    return sorted(record.to_text() for rrset in answer.answer for record in rrset)


def test_addresses_are_those_of_ready_instances_of_the_family() -> None:
    assert texts(ask("web.tenure")) == ["10.0.0.1", "10.0.0.2"]
    assert texts(ask("web.tenure", "AAAA")) == ["2001:db8::1"]
    assert texts(ask("WEB.TENURE")) == ["10.0.0.1", "10.0.0.2"]
    assert texts(ask("mail.in.tenure")) == ["10.0.1.1"]
    answer = ask("web.tenure")
    assert answer.flags & dns.flags.AA
    assert answer.answer[0].ttl == 5


@pytest.mark.parametrize("name", ["web.tenure", "_web._tcp.tenure", "_web._udp.tenure"])
def test_services_have_port_weight_and_targets_with_their_addresses(name: str) -> None:
    answer = ask(name, "SRV")
    assert texts(answer) == [
        "0 0 83 node.example.org.",
        "0 100 80 0a000001.addr.tenure.",
        "0 100 82 20010db8000000000000000000000001.addr.tenure.",
        "0 200 81 0a000002.addr.tenure.",
    ]
    assert sorted(record.to_text() for rrset in answer.additional for record in rrset) == [
        "10.0.0.1",
        "10.0.0.2",
        "2001:db8::1",
    ]
    assert texts(ask("0a000001.addr.tenure")) == ["10.0.0.1"]


def test_weights_beyond_sixteen_bits_keep_their_order() -> None:
    seen = sight(
        Instance("web", id="1", host="10.0.0.1").with_weight(1_000_000),
        Instance("web", id="2", host="10.0.0.2").with_weight(0.001),
        Instance("web", id="3", host="10.0.0.3").with_weight(0),
    )
    assert [text.split()[1] for text in texts(ask("web.tenure", "SRV", seen=seen))] == ["0", "1", "65535"]


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("nobody.tenure", "A", dns.rcode.NXDOMAIN),
        ("_nobody._tcp.tenure", "SRV", dns.rcode.NXDOMAIN),
        ("zz.addr.tenure", "A", dns.rcode.NXDOMAIN),
        ("web.tenure", "MX", dns.rcode.NOERROR),
        ("mail.in.tenure", "AAAA", dns.rcode.NOERROR),
        ("_web._tcp.tenure", "A", dns.rcode.NOERROR),
        ("gone.tenure", "A", dns.rcode.NOERROR),
        ("ns.tenure", "A", dns.rcode.NOERROR),
    ],
)
def test_a_negative_answer_says_how_long_it_holds(name: str, kind: str, code: dns.rcode.Rcode) -> None:
    answer = ask(name, kind)
    assert answer.rcode() == code
    assert not answer.answer
    (soa,) = answer.authority
    assert (soa.name.to_text(), soa.rdtype, soa.ttl, soa[0].minimum, soa[0].serial) == (
        "tenure.",
        dns.rdatatype.SOA,
        7,
        7,
        3,
    )


def test_the_top_of_the_zone_has_its_soa_and_ns() -> None:
    assert texts(ask("tenure", "SOA")) == ["ns.tenure. hostmaster.tenure. 3 60 10 86400 7"]
    assert texts(ask("tenure", "NS")) == ["ns.tenure."]


def test_a_long_answer_is_cut_to_what_the_client_takes_and_whole_by_tcp() -> None:
    def cut(name: str, payload: int | None) -> bool:
        query = dns.message.make_query(name, "A", use_edns=payload is not None and 0, payload=payload)
        wire = ZONE.answer(query.to_wire(), SIGHT)
        assert wire is not None
        assert len(wire) <= max(512, min(payload or 0, MOST_UDP))
        return bool(dns.message.from_wire(wire).flags & dns.flags.TC)

    assert [cut("middle.tenure", payload) for payload in (None, 100, 600, 1_232, 4_096)] == [True] * 3 + [False] * 2
    assert cut("big.tenure", 4_096)
    for kind in ("A", "SRV"):
        whole = ask("big.tenure", kind, tcp=True)
        assert len(texts(whole)) == 1_000
        assert not whole.flags & dns.flags.TC


def test_addresses_of_targets_are_left_out_before_services_are() -> None:
    seen = sight(*(Instance("web", id=str(n), host=f"10.0.0.{n + 1}", port=80) for n in range(15)))
    answer = ask("web.tenure", "SRV", seen=seen, use_edns=0, payload=MOST_UDP)
    assert len(texts(answer)) == 15
    assert not answer.flags & dns.flags.TC


def test_what_cannot_be_answered_gets_a_code() -> None:
    assert ask("web.example.org").rcode() == dns.rcode.REFUSED
    assert ask("tenure", "AXFR").rcode() == dns.rcode.REFUSED
    assert ask("web.tenure", rdclass="CH").rcode() == dns.rcode.REFUSED
    assert ask("web.tenure", seen=None).rcode() == dns.rcode.SERVFAIL
    assert ask("web.tenure", use_edns=1).rcode() == dns.rcode.BADVERS
    notify = dns.message.make_query("tenure", "SOA")
    notify.set_opcode(dns.opcode.NOTIFY)
    wire = ZONE.answer(notify.to_wire(), SIGHT)
    assert wire is not None
    assert dns.message.from_wire(wire).rcode() == dns.rcode.NOTIMP


def test_an_answer_is_never_answered() -> None:
    assert ZONE.answer(ask("web.tenure").to_wire(), SIGHT) is None
    assert ZONE.answer(b"\x00\x01\x80" + bytes(20), SIGHT) is None


@given(st.binary(max_size=80), st.booleans())
def test_no_message_raises(tail: bytes, tcp: bool) -> None:
    start = dns.message.make_query("web.tenure", "A", use_edns=0).to_wire()
    for wire in (tail, start[:12] + tail, start[: len(tail)], start + tail):
        answer = ZONE.answer(wire, SIGHT, tcp=tcp)
        assert answer is None or answer[:2] == wire[:2]


@pytest.mark.parametrize("text", ["", ".", "a..b", "x" * 64])
def test_a_wrong_domain_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="domain"):
        parse_domain(text)
