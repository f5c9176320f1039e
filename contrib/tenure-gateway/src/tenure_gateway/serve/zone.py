"""The DNS zone: an answer for each question, from what the directory shows. No sockets.

With the domain ``tenure``:

    web.tenure              A, AAAA   addresses of the ready instances of the service web
    web.tenure              SRV       their addresses and ports; so does _web._tcp.tenure, and _web._udp.tenure
    0a000001.addr.tenure    A, AAAA   the address that the hexadecimal digits are: targets of SRV have to be names
    tenure                  SOA, NS

An instance whose host is a name is the target of an SRV record, and has no A record: its own zone has that. A name
that isn't there gets NXDOMAIN, and one without records of the type an empty answer, both with the SOA record, whose
last field says how long that may be remembered.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from tenure.errors import ConfigError
from tenure.plugin_kit import monotonic
from tenure.registry import Instance
from tenure_gateway.directory import Sight, address_of

MOST_UDP = 1_232
"""Bytes of a UDP answer that pass every network without fragments."""
LEAST_UDP = 512
_MOST_TCP = 65_535
_MOST_REMEMBERED = 1_000
_REMEMBER = 0.1
"""Seconds for which the same question gets the same answer: making one takes a millisecond."""
_MOST_RECORDS = 1_000
"""Of one answer, chosen by chance: more would not fit into 64 KiB."""
_MOST_WEIGHT = 65_535
_HANDLED = (dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.SRV)
_ALL = (*_HANDLED, dns.rdatatype.SOA, dns.rdatatype.NS)


@dataclass(frozen=True, slots=True)
class ZoneSettings:
    """Settings of the zone.

    Attributes:
        domain: the zone's name, absolute.
        ttl: seconds for which an answer may be remembered.
        negative_ttl: seconds for which it may be remembered that there is nothing.
    """

    domain: dns.name.Name
    ttl: int = 5
    negative_ttl: int = 5


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer without the two bytes that say whose it is."""

    services: Mapping[str, tuple[Instance, ...]] | None
    rest: bytes | None
    until: float


class Zone:
    """Answers questions. Used by one thread.

    Args:
        settings: the zone's settings.
    """

    def __init__(self, settings: ZoneSettings) -> None:
        self._settings = settings
        self._recent: dict[tuple[bytes, bool], _Answer] = {}
        self._server = dns.name.Name((b"ns",)).concatenate(settings.domain)

    def answer(self, wire: bytes, sight: Sight | None, *, tcp: bool = False) -> bytes | None:
        """Return the answer to a message.

        Args:
            wire: the message as received.
            sight: what the directory shows; ``None`` if it has no state yet: then the answer is SERVFAIL.
            tcp: whether the answer may have 64 KiB.

        Returns:
            The answer's bytes; ``None`` for a message that gets none, such as an answer.
        """
        services = None if sight is None else sight.services
        known = self._recent.get((wire[2:], tcp))
        if known is None or known.services is not services or known.until < monotonic():
            answer = self._answer(wire, sight, tcp=tcp)
            known = _Answer(services, None if answer is None else answer[2:], monotonic() + _REMEMBER)
            if len(self._recent) >= _MOST_REMEMBERED:
                self._recent.clear()
            self._recent[wire[2:], tcp] = known
        return None if known.rest is None else wire[:2] + known.rest

    def _answer(self, wire: bytes, sight: Sight | None, *, tcp: bool) -> bytes | None:
        try:
            query = dns.message.from_wire(wire, ignore_trailing=True)
        except dns.exception.DNSException:
            return _form_error(wire)
        except (ValueError, IndexError):
            return _form_error(wire)
        if query.flags & dns.flags.QR:
            return None
        response = dns.message.make_response(query, our_payload=MOST_UDP)
        if query.edns > 0:
            response.set_rcode(dns.rcode.BADVERS)
        elif query.opcode() != dns.opcode.QUERY:
            response.set_rcode(dns.rcode.NOTIMP)
        elif len(query.question) != 1:
            response.set_rcode(dns.rcode.FORMERR)
        else:
            self._fill(response, query.question[0], sight)
        size = _MOST_TCP if tcp else min(max(query.payload if query.edns >= 0 else 0, LEAST_UDP), MOST_UDP)
        return _to_wire(response, size)

    def _fill(self, response: dns.message.Message, question: dns.rrset.RRset, sight: Sight | None) -> None:
        domain = self._settings.domain
        wanted = question.rdtype
        meta = wanted in (dns.rdatatype.AXFR, dns.rdatatype.IXFR)
        if question.rdclass != dns.rdataclass.IN or meta or not question.name.is_subdomain(domain):
            response.set_rcode(dns.rcode.REFUSED)
            return
        if sight is None:
            response.set_rcode(dns.rcode.SERVFAIL)
            return
        response.flags |= dns.flags.AA
        labels = question.name.relativize(domain).labels
        records = self._records(labels, wanted, sight)
        if records is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        for kind in _ALL:
            found = [record for record in records or () if record.rdtype == kind]
            if found:
                response.answer.append(self._rrset(question.name, found))
        if not response.answer:
            response.authority.append(self._rrset(domain, [self._soa(sight)], negative=True))
        else:
            self._add_targets(response)

    def _records(
        self, labels: Sequence[bytes], wanted: dns.rdatatype.RdataType, sight: Sight
    ) -> list[dns.rdata.Rdata] | None:
        """Return the records of a name of the wanted type; ``None`` if there is no such name."""
        if not labels:
            ns = _record(dns.rdatatype.NS, self._server.to_text())
            return [one for one in (self._soa(sight), ns) if wanted in (one.rdtype, dns.rdatatype.ANY)]
        if len(labels) == 2 and labels[1].lower() == b"addr":
            address = _address_in(labels[0])
            return None if address is None else _address_records([address], wanted)
        srv_only = len(labels) > 1 and labels[0].startswith(b"_") and labels[-1].lower() in (b"_tcp", b"_udp")
        instances = _instances(sight, b".".join([labels[0][1:], *labels[1:-1]] if srv_only else labels))
        if instances is None:
            return [] if labels == (b"ns",) else None
        ready = [each for each in instances if each.ready]
        records = self._services(ready, wanted)
        if not srv_only:
            records += _address_records([found for each in ready if (found := address_of(each.host))], wanted)
        return records

    def _services(self, instances: Sequence[Instance], wanted: dns.rdatatype.RdataType) -> list[dns.rdata.Rdata]:
        if wanted not in (dns.rdatatype.SRV, dns.rdatatype.ANY):
            return []
        records = []
        most = max((each.weight for each in instances), default=0.0)
        scale = min(100.0, _MOST_WEIGHT / most) if most else 0.0
        for each in instances:
            target = _target(each.host, self._settings.domain)
            if target is not None:
                # Above 0, so that a small weight doesn't become that of a standby.
                weight = max(round(each.weight * scale), 1) if each.weight else 0
                records.append(_record(dns.rdatatype.SRV, f"0 {weight} {each.port} {target.to_text()}"))
        return records

    def _add_targets(self, response: dns.message.Message) -> None:
        """Add the addresses of SRV targets in this zone, so that a client needs no second question."""
        for rrset in response.answer:
            if rrset.rdtype != dns.rdatatype.SRV:
                continue
            for target in {record.target for record in rrset}:
                labels: Sequence[bytes] = target.relativize(self._settings.domain).labels
                address = _address_in(labels[0]) if len(labels) == 2 and labels[1] == b"addr" else None
                if address is not None:
                    response.additional.append(self._rrset(target, _address_records([address], dns.rdatatype.ANY)))

    def _soa(self, sight: Sight) -> dns.rdata.Rdata:
        # serial, refresh, retry, expire, minimum; a serial of 0 would look as if nothing had ever changed
        numbers = f"{sight.serial % 2**32 or 1} 60 10 86400 {self._settings.negative_ttl}"
        text = f"{self._server.to_text()} hostmaster.{self._settings.domain.to_text()} {numbers}"
        return _record(dns.rdatatype.SOA, text)

    def _rrset(
        self, name: dns.name.Name, records: Sequence[dns.rdata.Rdata], *, negative: bool = False
    ) -> dns.rrset.RRset:
        shuffled = random.sample(list(records), min(len(records), _MOST_RECORDS))
        return dns.rrset.from_rdata(name, self._settings.negative_ttl if negative else self._settings.ttl, *shuffled)


def parse_domain(text: str) -> dns.name.Name:
    """Return the zone's name. Raises ``ConfigError``."""
    try:
        name = dns.name.from_text(text)
    except (dns.exception.DNSException, UnicodeError) as exc:
        raise ConfigError(f"serving DNS: {text!r} is no domain: {exc}; give one such as 'tenure'") from exc
    if name == dns.name.root or len(name) > 200 // 2:
        raise ConfigError(f"serving DNS: {text!r} is no domain to answer for; give one such as 'tenure'")
    return name


def _instances(sight: Sight, name: bytes) -> list[Instance] | None:
    """Return the instances of the services that a name means: names of the DNS don't distinguish case."""
    exact = name.decode("utf-8", "replace")
    lowered = exact.lower()
    if lowered == exact and exact in sight.services and not exact.isascii():
        return list(sight.services[exact])
    found = [instances for service, instances in sight.services.items() if service.lower() == lowered]
    return [each for instances in found for each in instances] if found else None


def _record(kind: dns.rdatatype.RdataType, text: str) -> dns.rdata.Rdata:
    return dns.rdata.from_text(dns.rdataclass.IN, kind, text)


def _target(host: str, domain: dns.name.Name) -> dns.name.Name | None:
    """Return the name of a host, for an SRV record; ``None`` if it can't be one."""
    address = address_of(host)
    if address is not None:
        return dns.name.Name((address.packed.hex().encode(), b"addr")).concatenate(domain)
    try:
        return dns.name.from_text(host)
    except dns.exception.DNSException:
        return None


def _address_in(label: bytes) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        packed = bytes.fromhex(label.decode("ascii"))
    except ValueError:
        return None
    return ipaddress.ip_address(packed) if len(packed) in (4, 16) and len(label) == 2 * len(packed) else None


def _address_records(
    addresses: Iterable[ipaddress.IPv4Address | ipaddress.IPv6Address], wanted: dns.rdatatype.RdataType
) -> list[dns.rdata.Rdata]:
    records = []
    for address in set(addresses):
        kind = dns.rdatatype.A if address.version == 4 else dns.rdatatype.AAAA
        if wanted in (kind, dns.rdatatype.ANY):
            records.append(_record(kind, str(address)))
    return records


def _to_wire(response: dns.message.Message, size: int) -> bytes:
    """Return the message; one that is too long is cut, and says so unless only additional records are missing."""
    return response.to_wire(max_size=size, prefer_truncation=True)


def _form_error(wire: bytes) -> bytes | None:
    """Return FORMERR for a message whose header can be read, unless it is an answer itself."""
    if len(wire) < 12 or wire[2] & 0x80:
        return None
    opcode_and_rd = wire[2] & 0x79
    return wire[:2] + bytes([0x80 | opcode_and_rd, dns.rcode.FORMERR]) + bytes(8)
