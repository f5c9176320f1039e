"""The wire format, against literals as Go's ``json.Marshal`` writes them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.registry import Instance, MalformedEntry, decode, encode, key_of
from tenure.registry.model.entry_reader import EntryReader
from tenure.registry.model.immutable_json import NO_META

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


PARTS = {
    "id": st.sampled_from(['"1"', '"a@b"', '"a/b"', '""', '"\\u0041"', '"\\n"', '"\x7f"', "1", "null"]),
    "host": st.sampled_from(['"h"', '"h@h"', '"h/h"', '""', '"\u00e4"', "null"]),
    "host_name": st.sampled_from(['"n"', '""', "null", "[]"]),
    "port": st.sampled_from(["1", "80", "080", "0", "65535", "65536", "99999", "100000", "8e1", "-1", "1.0", "null"]),
    "service_name": st.sampled_from(['"web"', '"a/b"', '""', '"\ud800"', "null"]),
    "meta": st.sampled_from(
        [
            "null",
            "{}",
            '{"a":1}',
            '{"a":"b","c":[1,{"d":null}]}',
            '{"a":1},"meta":{"b":2}',
            '{"a":1}}',
            '{"a":1e999}',
            '{"a":NaN}',
            '{"a":' + "[" * 120 + "]" * 120 + "}",
            '{"a":' + "9" * 400 + "}",
            '{"\\ud800":"\\ud800"}',
            '{"a": 1}',
            "[]",
            '{"a":1}\n',
        ]
    ),
}
KEYS = ["/p/web/1@h", "/p/a/b/1@h", "/p/web/a@b@h", "/p/web/a/b@h", "/p/other/1@h", "/p/1@h", "/q/web/1@h", "/p/web/@h"]


def judged(key: str, wire: bytes) -> tuple[Instance | None, str]:
    try:
        return decode("/p/", key, wire), ""
    except MalformedEntry as exc:
        return None, str(exc)


@settings(max_examples=300, deadline=None)
@given(
    parts=st.fixed_dictionaries(PARTS),
    key=st.sampled_from(KEYS),
    space=st.sampled_from(["", "", "", " "]),
    left_out=st.sampled_from(["", "", "", "port", "meta", "id"]),
)
def test_the_quick_reader_reads_what_decode_reads(parts, key, space, left_out):
    text = ",".join(f'"{name}":{space}{part}' for name, part in parts.items() if name != left_out)
    wire = f"{{{text}}}".encode("utf-8", "surrogatepass")
    reader = EntryReader("/p/")
    expected, reason = judged(key, wire)
    if expected is None:
        for _ in range(2):
            with pytest.raises(MalformedEntry) as raised:
                reader.read(key, wire)
            assert str(raised.value) == reason
        return
    for _ in range(2):  # the second time from what it has kept
        found, agrees = reader.read(key, wire)
        assert found == expected
        assert (found.meta is NO_META) == (expected.meta is NO_META)
        assert not agrees or key == key_of("/p/", expected)


def test_equal_metadata_of_many_entries_are_one_object_and_a_bound_holds_for_what_is_kept():
    reader = EntryReader("/p/")
    some = [Instance("web", id=str(number), host="h", host_name="n", meta={"zone": "a"}) for number in range(2)]
    read = [reader.read(key_of("/p/", each), encode(each)) for each in some]
    assert all(agrees for _, agrees in read)
    assert read[0][0].meta is read[1][0].meta
    for number in range(3_000):
        reader.read("/p/web/1@h", encode(Instance("web", id="1", host="h", host_name="n", meta={"n": number})))
    assert len(reader._metas) <= 1_024
