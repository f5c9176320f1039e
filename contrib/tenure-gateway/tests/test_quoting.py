"""No field of an instance can inject configuration: printed as it is, or by each filter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tenure_gateway.directory import Sight
from tenure_gateway.render.quoting import FILTERS, Quoted, Refused, checked
from tenure_gateway.render.templates import RenderError, Template

from tenure.registry import Instance

HOSTILE = [
    "a; } server { listen 666",
    "a b",
    'a"; include /etc/passwd; "',
    "a'\nserver evil 6.6.6.6:80\n'",
    "a\\",
    "$host",
    "%[src]",
    "{{ 7 * 7 }}",
    "a#b",
    "a\x00b",
    "a\u2028b",
    "a\u202eb",
    "a\x1b[31m",
]


class NoKeys:
    def key(self, name: str) -> str | None:
        return None

    def keys(self, prefix: str) -> dict[str, str]:
        return {}


def rendered(folder: Path, text: str, *instances: Instance) -> str:
    path = folder / "page.j2"
    path.write_text(text)
    return Template(path).render(Sight({"web": instances}), NoKeys()).decode()


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_never_printed_as_it_is(text: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="use a filter"):
        checked(text)
    for expression in (
        "i.meta.x",
        "'a' ~ i.meta.x",
        "i.meta.x|upper",
        "i.meta.x|nginx('q') ~ i.meta.x",
        "[i.meta.x]",
        "i.meta.get('x')",
        "i.meta.x.strip('-')",
    ):
        with pytest.raises(RenderError):
            rendered(tmp_path, f"{{% for i in service('web') %}}{{{{ {expression} }}}}{{% endfor %}}", hostile(text))


@pytest.mark.parametrize("text", HOSTILE)
def test_json_says_the_same_on_one_plain_line(text: str) -> None:
    written = FILTERS["json"]({"a": (text, None, 1.5)})
    assert json.loads(written) == {"a": [text, None, 1.5]}
    assert written.isascii()
    assert written.isprintable()


@pytest.mark.parametrize("form", ["nginx", "haproxy"])
def test_control_and_bidi_characters_are_refused_or_replaced(form: str) -> None:
    for text in ("a\nb", "a\x00", "\u202ea", "\u2028", "\x85", "\x7f"):
        with pytest.raises(Refused, match="control character"):
            FILTERS[form](text)
        assert FILTERS[form](text, "none") == FILTERS[form]("none")
    with pytest.raises(Refused, match="control character"):
        FILTERS["raw"]("a\x1bb")
    assert FILTERS["raw"]("a {\n\tb;\n}") == "a {\n\tb;\n}"


def test_quotes_are_those_of_the_format() -> None:
    assert FILTERS["nginx"]('a "b\\;') == '"a \\"b\\\\;"'
    assert FILTERS["haproxy"]("a 'b' \\ #") == "'a '\\''b'\\'' \\ #'"
    with pytest.raises(Refused, match=r"'\$'"):
        FILTERS["nginx"]("$host")
    with pytest.raises(Refused, match="'%'"):
        FILTERS["haproxy"]("%[src]")


def test_names_are_plain_and_stay_different() -> None:
    names = {FILTERS["name"](text) for text in ("a b", "a;b", "a_b", "", "A" * 100, "A" * 101)}
    assert len(names) == 6
    assert all(isinstance(checked(str(name)), str) for name in names)


def test_what_has_no_common_text_is_refused() -> None:
    assert checked(5) == "5"
    assert checked("[::1]:80") == "[::1]:80"
    assert isinstance(checked(Quoted("x y")), Quoted)
    for value in (None, True, [], {}):
        with pytest.raises(Refused, match="json"):
            checked(value)


def test_macros_blocks_and_includes_print_what_they_composed(tmp_path: Path) -> None:
    (tmp_path / "part.j2").write_text("part of {{ i.id }};\n")
    text = (
        "{% macro line(i) %}server {{ i.address }} {{ i.meta.x|nginx }};\n{% endmacro %}"
        "{% block all %}{% for i in service('web') %}{{ line(i) }}{% include 'part.j2' %}{% endfor %}{% endblock %}"
        "{{ self.all() }}"
    )
    once = 'server 10.0.0.1:80 "a; b";\npart of 1;\n'
    assert rendered(tmp_path, text, hostile("a; b")) == 2 * once


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ nothing }}", "line 1: 'nothing' is undefined"),
        ("\n\n{{ service('web')[0].meta.zone }}", "line 3"),
        ("{{ key('color') }}", "no such key"),
        ("{{ service.__init__.__globals__ }}", "unsafe"),
        ("{{ 1 / 0 }}", "division"),
        ("{% include 'gone.j2' %}", "gone.j2"),
        ("\n{% for %}", "line 2"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(RenderError) as caught:
        rendered(tmp_path, text, hostile("x"))
    assert said in str(caught.value)
    assert "page.j2" in str(caught.value)


def hostile(text: str) -> Instance:
    return Instance("web", id="1", host="10.0.0.1", port=80, meta={"x": text})
