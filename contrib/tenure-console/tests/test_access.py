"""Who sees anything, and what a request has to carry."""

from __future__ import annotations

import re

import pytest
from console_testkit import FORMS, PAGES, Tags, Visitor, key_on, register, settle
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount
from tenure_console import Console

import tenure

SECRET = "hush-7731"


def test_without_a_token_nothing_is_shown(store: tenure.Store, writable: Console) -> None:
    """Not by any page, form, wrong or used token, and not by an error."""
    store.put(f"keys/{SECRET}", SECRET.encode())
    register(store, SECRET)
    settle(writable, store)
    stranger, guest = Visitor(writable), Visitor(writable)
    used = writable.token
    assert SECRET in guest.enter(used).text
    assert "This link was used already" in stranger.enter(used).text
    assert stranger.enter(used).status_code == 403  # before the live stream below, which has no end for a guest
    for answer in (
        stranger.enter(used),
        stranger.enter("x" * 43),
        stranger.get("enter"),
        stranger.get("nothing"),
        stranger.get("raw", key=f"keys/{SECRET}"),
        *(stranger.get(page, key=f"keys/{SECRET}", q=SECRET) for page in PAGES),
        *(stranger.client.post(f"/{form}", data={"key": f"keys/{SECRET}"}) for form in FORMS),
        stranger.client.request("DELETE", f"/key?key=keys/{SECRET}"),
    ):
        assert answer.status_code == 403, answer.url
        assert SECRET not in answer.text.replace(str(answer.url), "")
        assert "memory://" not in answer.text
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert store.get(f"keys/{SECRET}") is not None
    # The next token, which was made when the first was used, lets one more browser in.
    assert stranger.enter(writable.token).status_code == 200


def test_the_next_link_is_told_when_one_was_used(store: tenure.Store) -> None:
    told: list[str] = []
    with tenure.connect(store.url) as same:
        console = Console(same, on_entry=told.append)
        assert Visitor(console).enter(console.token).status_code == 200
        assert told == [console.token]
        console.close()


def test_a_session_ends_when_its_browser_leaves(console: Console, visitor: Visitor) -> None:
    cookies = dict(visitor.client.cookies)
    assert "You have left" in visitor.post("leave").text
    visitor.client.cookies.update(cookies)
    assert visitor.get("").status_code == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8765", "", "127.0.0.1@evil.example"]
)
def test_another_host_name_is_refused(console: Console, visitor: Visitor, host: str) -> None:
    """A page of another site whose name was pointed at this machine gets nothing."""
    answer = visitor.client.get("/", headers={"host": host})
    assert answer.status_code == 421
    assert "memory://" not in answer.text


def test_a_host_name_that_was_named_is_served(store: tenure.Store) -> None:
    console = Console(store, hosts=("ops.example", "::2"))
    for base in ("http://ops.example", "http://localhost:1", "http://[::1]:8765", "http://[::2]:1"):
        assert Visitor(console, base=base).enter(console.token).status_code == 200
    console.close()


def test_a_form_of_another_page_changes_nothing(store: tenure.Store, writable: Console, writer: Visitor) -> None:
    store.put("a", b"1")
    other = Visitor(writable)
    foreign = key_on(other.enter(writable.token).text)
    mine = key_on(writer.get("").text)
    fields = {"do": "delete", "key": "a", "revision": str(store.get("a").mod_revision)}
    sent = [
        writer.client.post("/do", data=fields),
        writer.client.post("/do", data={**fields, "form_key": foreign}),
        writer.client.post("/do", data={**fields, "form_key": mine[:-1]}),
        writer.client.post("/do", data={**fields, "form_key": mine}, headers={"origin": "http://evil.example"}),
        writer.client.post("/do", data={**fields, "form_key": mine}, headers={"sec-fetch-site": "cross-site"}),
        writer.client.post("/do", content=b"\xff\xfe"),
        writer.client.get("/do", params={**fields, "form_key": mine}),
        writer.client.post("/do", content=b"x" * 2_000_000),
    ]
    assert [answer.status_code for answer in sent] == [403, 403, 403, 403, 403, 400, 404, 413]
    assert store.get("a") is not None
    assert (
        writer.client.post(
            "/do", data={**fields, "form_key": mine}, headers={"origin": "http://127.0.0.1:8765"}
        ).status_code
        == 200
    )
    assert store.get("a") is None


def test_no_page_can_run_what_it_shows_or_ask_another_host(
    store: tenure.Store, writable: Console, writer: Visitor
) -> None:
    """The policy forbids it, and no page needs an exception: no inline script, style or handler, no other address."""
    key = register(store, "web", zone="a")
    writer.show_values()
    settle(writable, store)
    lease = store.leases()[0].lease_id
    for path, query in (
        *((page, {}) for page in PAGES if page != "events"),
        ("instance", {"key": key}),
        ("key", {"key": key}),
        ("edit", {"key": key}),
        ("lease", {"id": lease}),
        ("confirm", {"do": "revoke", "lease": lease}),
        ("search", {"q": "w"}),
        ("service", {"registry": "default", "name": "web"}),
        ("keys", {"prefix": "/registry/"}),
    ):
        answer = writer.get(path, **query)
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "script-src 'self'" in policy
        assert answer.headers["cache-control"] == "no-store"
        for tag, attributes in Tags(answer.text).found:
            assert tag not in ("style", "iframe", "object", "embed", "base"), path
            assert tag != "script" or attributes["src"], path
            for name, value in attributes.items():
                assert not name.startswith("on"), (path, name)
                assert name not in ("style", "srcdoc", "hx-on"), (path, name)
                if name in ("href", "src", "action", "hx-get") and tag != "svg":
                    assert str(value).startswith(("/", "#")), (path, value)
                    assert not str(value).startswith("//"), (path, value)


def test_mounted_in_an_application_under_a_prefix(store: tenure.Store) -> None:
    """Its own check decides who comes in, and tells who it is."""

    async def allow(request: Request) -> str | None:
        return request.headers.get("x-person")

    store.put("a/b", b"1")
    console = Console(store, allow=allow, allow_writes=True)
    app = Starlette(routes=[Mount("/ops/tenure", console)])
    stranger, ada = Visitor(app, prefix="/ops/tenure"), Visitor(app, prefix="/ops/tenure")
    assert stranger.get("keys").status_code == 403
    assert stranger.get("enter", token=console.token).status_code == 403
    ada.client.headers["x-person"] = "ada"
    page = ada.get("keys")
    assert page.status_code == 200
    links = [
        attributes[name]
        for _, attributes in Tags(page.text).found
        for name in ("href", "action", "src")
        if name in attributes
    ]
    assert links
    assert all(str(link).startswith(("/ops/tenure/", "#")) for link in links)
    assert ada.client.get(next(str(link) for link in links if ".css" in str(link))).status_code == 200
    assert "HttpOnly" in page.headers["set-cookie"]
    assert "Path=/ops/tenure" in page.headers["set-cookie"]
    assert "SameSite=Strict" in page.headers["set-cookie"]
    saved = ada.post("save", like=ada.get("edit", key="a/b"), content="2")
    assert "Saved a/b" in saved.text
    settle(console, store)
    assert re.search(r"by <b>ada</b>", ada.get("timeline").text)
    # Another person with the same browser gets a session of their own.
    ada.client.headers["x-person"] = "grace"
    assert "Leave (grace)" in ada.get("keys").text
    console.close()


def test_what_a_form_sends_back_to_is_a_page_of_the_console(visitor: Visitor) -> None:
    for back in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/x\r\nA: b"):
        answer = visitor.post("preferences", theme="dark", back=back)
        assert answer.url.path == "/", back
    assert 'data-theme="dark"' in visitor.get("").text
