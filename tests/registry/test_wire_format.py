"""The wire format, against literals as Go's ``json.Marshal`` writes them."""

from __future__ import annotations

import pytest

from tenure.registry import Instance, MalformedEntry, decode, encode, key_of

KEY = "/registry/default/web/1@h"


def instance(meta: object) -> Instance:
    return Instance("web", id="1", host="h", host_name="n", port=80, meta=meta)


def value(meta: str) -> bytes:
    return f'{{"id":"1","host":"h","host_name":"n","port":80,"service_name":"web","meta":{meta}}}'.encode()


WIRE = [
    (None, "null"),
    ({}, "{}"),
    ({"zone": "a"}, '{"zone":"a"}'),
    ({"b": 1, "a": 2, "B": 3, "": 4}, '{"":4,"B":3,"a":2,"b":1}'),
    ({"\uffff": 1, "\U00010000": 2}, '{"\uffff":1,"\U00010000":2}'),
    ({"a": "<b>&c"}, r'{"a":"\u003cb\u003e\u0026c"}'),
    ({"<": "\u2028\u2029"}, r'{"\u003c":"\u2028\u2029"}'),
    ({"a": "Grüße 世界 \U0001f600"}, '{"a":"Grüße 世界 \U0001f600"}'),
    ({"a": '"\\/\n\r\t\x00\x1f\x7f'}, '{"a":"\\"\\\\/\\n\\r\\t\\u0000\\u001f\x7f"}'),
    ({"a": "\b\f"}, r'{"a":"\b\f"}'),
    ({"a": [True, False, None, [], {}]}, '{"a":[true,false,null,[],{}]}'),
    ({"a": {"d": 1, "c": "<"}}, r'{"a":{"c":"\u003c","d":1}}'),
    ({"a": 1.0}, '{"a":1}'),
    ({"a": 0.5}, '{"a":0.5}'),
    ({"a": 123456789.25}, '{"a":123456789.25}'),
    ({"a": 1e16}, '{"a":10000000000000000}'),
    ({"a": 1.5e17}, '{"a":150000000000000000}'),
    ({"a": 1e21}, '{"a":1e+21}'),
    ({"a": -1.5e300}, '{"a":-1.5e+300}'),
    ({"a": 1e-5}, '{"a":0.00001}'),
    ({"a": -1.25e-6}, '{"a":-0.00000125}'),
    ({"a": 1e-7}, '{"a":1e-7}'),
    ({"a": 1.5e-10}, '{"a":1.5e-10}'),
    ({"a": 12345678901234567890}, '{"a":12345678901234567890}'),
]


# A whole number is read as an int, which has no minus zero and no rounding: these only go one way.
ONE_WAY = [({"a": -0.0}, '{"a":-0}'), ({"a": 1.2345678901234567e20}, '{"a":123456789012345670000}')]


@pytest.mark.parametrize(("meta", "wire"), [*WIRE, *ONE_WAY])
def test_written_byte_for_byte_as_go_does(meta, wire):
    assert encode(instance(meta)) == value(wire)


@pytest.mark.parametrize(("meta", "wire"), WIRE)
def test_what_is_read_is_written_back_the_same(meta, wire):
    read = decode("/registry/default/", KEY, value(wire))
    assert read == instance(meta)
    assert encode(read) == value(wire)


def test_the_key():
    assert key_of("/registry/default/", instance(None)) == KEY


@pytest.mark.parametrize(
    ("wire", "fields"),
    [
        ("{}", {}),
        ('{"port":8080.0}', {"port": 8080}),
        ('{"port":0}', {"port": 8000}),
        ('{"port":null,"meta":null,"id":null}', {}),
        ('{"extra":{"x":1},"port":81}', {"port": 81}),
        ('{"id":"2","host":"other","host_name":"hn"}', {"id": "2", "host": "other", "host_name": "hn"}),
        ('{"service_name":"db"}', {"service_name": "db"}),
        (' {"meta" : {"a" : 1.0} } ', {"meta": {"a": 1}}),
        (r'{"host_name":"\ud83d\ude00"}', {"host_name": "\U0001f600"}),
        (r'{"meta":{"a":["\ud800"]}}', {"meta": {"a": ("\ufffd",)}}),
    ],
)
def test_read_leniently(wire, fields):
    expected = {"id": "1", "host": "h", "port": 8000, "service_name": "web", "host_name": "h", "meta": {}} | fields
    read = decode("/registry/default/", KEY, wire.encode())
    assert {name: getattr(read, name) for name in expected} == expected


def test_broken_utf8_becomes_replacement_characters_as_in_go():
    assert decode("/registry/default/", KEY, b'{"host_name":"a\xff"}').host_name == "a\ufffd"


def test_an_id_with_an_at_sign_and_a_service_with_slashes():
    read = decode("/p/", "/p/a/b/me@home@10.0.0.1", b"{}")
    assert (read.service_name, read.id, read.host) == ("a/b", "me@home", "10.0.0.1")


@pytest.mark.parametrize(
    ("key", "wire", "said"),
    [
        (KEY, b"", "isn't JSON"),
        (KEY, b"\x80\x04", "isn't JSON"),
        (KEY, b"[" * 100_000, "isn't JSON"),
        (KEY, b"[]", "JSON list, not an object"),
        (KEY, b'"x"', "JSON str, not an object"),
        (KEY, b'{"port":"80"}', "not a whole number"),
        (KEY, b'{"port":80.5}', "not a whole number"),
        (KEY, b'{"port":true}', "not a whole number"),
        (KEY, b'{"id":1}', "not text"),
        (KEY, b'{"meta":[]}', "not an object"),
        (KEY, b'{"meta":{"a":NaN}}', "isn't JSON"),
        (KEY, b'{"meta":{"a":1e999}}', "can't be used"),
        ("/registry/default/lock", b"{}", "isn't /registry/default/<service>"),
        ("/registry/default/web/1", b"{}", "isn't /registry/default/<service>"),
        ("/registry/default/web/@h", b"{}", "isn't /registry/default/<service>"),
        ("/registry/default/1@h", b"{}", "isn't /registry/default/<service>"),
    ],
)
def test_what_is_no_instance_is_refused_with_a_reason(key, wire, said):
    with pytest.raises(MalformedEntry, match=said):
        decode("/registry/default/", key, wire)
