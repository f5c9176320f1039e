"""The config URL: every form, errors that name the choices, and no password in anything that people can read."""

from __future__ import annotations

import logging
import os
import pickle
import traceback

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tenure._client.opening import connect
from tenure._plugins import discovery
from tenure._plugins.url import parse, split
from tenure._runtime.clock import SystemClock
from tenure.errors import ConfigError, TenureError, UnknownScheme
from tenure.spi import BackendPlugin, Host, OpenRequest, Option, Secret, Tls, UrlForm

from .doubles import ScriptedBackend

CLOCK = SystemClock()


def plugin(url_form=UrlForm.HOSTS, **changes):
    values = {
        "scheme": "demo",
        "summary": "for tests",
        "open": lambda request: ScriptedBackend(),
        "url_form": url_form,
        "spi_version": 1,
        "default_port": 2379 if url_form is UrlForm.HOSTS else None,
        "variants": frozenset({"tls", "quick"}) if url_form is UrlForm.HOSTS else frozenset(),
        "accepts_credentials": url_form is UrlForm.HOSTS,
        "options": (
            Option("pool", int, 4, "connections", minimum=1, maximum=64),
            Option("ratio", float, 0.5, "a ratio", maximum=1.0),
            Option("wait", bool, False, "whether to wait"),
            Option("mode", str, "fast", "how", choices=("fast", "safe")),
            Option("label", str, None, "any text"),
            Option("token", str, None, "a token", secret=True),
        ),
    }
    return BackendPlugin(**{**values, **changes})


HOSTS, NAME, FILE = plugin(), plugin(UrlForm.NAME), plugin(UrlForm.FILE)


def read(url: str, of: BackendPlugin = HOSTS) -> OpenRequest:
    return parse(url, of, timeout=5.0, clock=CLOCK)


def complaint(url: str, of: BackendPlugin = HOSTS) -> str:
    with pytest.raises(ConfigError) as caught:
        read(url, of)
    return str(caught.value)


# -- hosts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("authority", "hosts"),
    [
        ("a", ["a:2379"]),
        ("a:1", ["a:1"]),
        ("a:65535", ["a:65535"]),
        ("127.0.0.1:80", ["127.0.0.1:80"]),
        ("a,b:2,c", ["a:2379", "b:2", "c:2379"]),
        ("[::1]", ["[::1]:2379"]),
        ("[::1]:1,[fe80::1%eth0]:2", ["[::1]:1", "[fe80::1%eth0]:2"]),
        ("a%2Db", ["a-b:2379"]),
    ],
)
def test_hosts(authority, hosts):
    request = read(f"demo://{authority}/")
    assert [str(host) for host in request.hosts] == hosts
    assert request.namespace == ""


def test_a_port_is_needed_where_the_plugin_has_no_default():
    bare = plugin(default_port=None)
    assert "needs a port; write a:port" in complaint("demo://a", bare)
    assert read("demo://a:1", bare).hosts == (Host("a", 1),)


@pytest.mark.parametrize(
    "port", ["0", "65536", "99999", "-1", "+1", "x", "", "1_0", "\uff11", "9" * 5000, "80 ", "1:2"]
)
def test_ports_that_are_none(port):
    assert "1 to 65535" in complaint(f"demo://a:{port}") or "cannot understand host number 1" in complaint(
        f"demo://a:{port}"
    )


@pytest.mark.parametrize("authority", ["", ",", "a,", ",a", "a,,b", ":1"])
def test_an_empty_host(authority):
    assert "is empty; write demo://host:port" in complaint(f"demo://{authority}")


@pytest.mark.parametrize("authority", ["::1", "[::1", "::1]", "[x]", "[::1]x", "a[b]", "fe80::1:2379"])
def test_hosts_that_cannot_be_understood_get_the_two_ways_to_write_one(authority):
    assert "write name:port, or [IPv6 address]:port" in complaint(f"demo://{authority}")


# -- names, files, namespaces ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "namespace"),
    [("", ""), ("/", ""), ("/a", "a"), ("/a/", "a/"), ("//a", "/a"), ("/a/b", "a/b"), ("/a%2Fb", "a/b"), ("/%41", "A")],
)
def test_the_path_is_the_namespace_taken_literally(path, namespace):
    assert read(f"demo://h{path}").namespace == namespace
    assert read(f"demo://n{path}", NAME).namespace == namespace


def test_a_name_and_a_file():
    assert read("demo://some%20name/ns", NAME).path == "some name"
    assert read("demo://", NAME).path == ""
    assert read("demo:///var/x%3Fy.db?namespace=n", FILE).path == "/var/x?y.db"
    assert read("demo:///var/x.db?namespace=n", FILE).namespace == "n"
    assert read("demo://", FILE).path == read("demo:///", FILE).path == ""
    assert "three slashes" in complaint("demo://var/x.db", FILE)


@pytest.mark.parametrize(
    ("text", "plugin", "part"),
    [
        ("demo://h/%ff", HOSTS, "namespace"),
        ("demo://h/%ED%A0%80", HOSTS, "namespace"),
        ("demo://h%00st", HOSTS, "hosts"),
        ("demo://\udcff/x", NAME, "name"),
        ("demo://a%00b/x", NAME, "name"),
        ("demo:///tmp/%fe.db", FILE, "path"),
        ("demo:///tmp/x%00.db", FILE, "path"),
        ("demo://us%00er:p@h", HOSTS, "credentials"),
        ("demo://user:%ff@h", HOSTS, "credentials"),
        ("demo+tls://h?ca=/tmp/%00", HOSTS, "options"),
    ],
)
def test_what_is_no_text_is_refused_since_two_names_would_be_one(text, plugin, part):
    message = complaint(text, plugin)
    assert f"parsing the URL's {part}: " in message
    assert "not UTF-8" in message or "NUL" in message


def test_a_path_longer_than_any_file_is_refused():
    assert "at most 255" in complaint(f"demo:///tmp/{'n' * 256}", FILE)
    assert "at most 255 and 4095" in complaint(f"demo:///{'n/' * 2100}x", FILE)
    assert read(f"demo:///tmp/{'n' * 255}", FILE).path == f"/tmp/{'n' * 255}"


def test_certificates_are_in_files(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, "/dev/zero"):
        assert "name a file" in complaint(f"demo+tls://h?ca={path}", HOSTS)


def test_a_namespace_given_twice():
    assert "twice" in complaint("demo://h/a?namespace=b")
    assert read("demo://h?namespace=b").namespace == "b"


# -- user and password -------------------------------------------------------------------------------------


def test_credentials_are_decoded_and_hidden():
    request = read("demo://us%40er:p%2Fa%3As%40s%25@h")
    assert (request.username, request.password) == ("us@er", Secret("p/a:s@s%"))
    assert request.url == "demo://us%40er:***@h"
    assert read("demo://user@h").password is None
    assert read("demo://user:@h").password == Secret("")
    assert read("demo://:pw@h").username is None
    assert read("demo://user:p:w@h").password == Secret("p:w")


def test_credentials_where_the_store_knows_none():
    assert "takes no user name or password" in complaint("demo://u:p@n", NAME)


@pytest.mark.parametrize(
    "url", ["demo://u:p/w@h", "demo://u@x:p/w@h", "demo://u:p?w@h", "demo://h/a@b", "demo://h?label=a@b"]
)
def test_an_at_sign_out_of_place_gets_told_how_to_encode(url):
    assert "%40" in complaint(url)


def test_an_encoded_colon_between_user_and_password():
    assert "percent-encoded (%3A)" in complaint("demo://user%3Apassword@h")


def test_a_secret_shows_itself_to_nobody_but_the_driver():
    secret = Secret("hush")
    assert "hush" not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == "hush"
    assert pickle.loads(pickle.dumps(secret)) == secret


# -- options -----------------------------------------------------------------------------------------------


def test_options_are_typed_and_defaults_filled_in():
    assert dict(read("demo://h").options) == {
        "pool": 4,
        "ratio": 0.5,
        "wait": False,
        "mode": "fast",
        "label": None,
        "token": None,
    }
    given_ = read("demo://h?pool=8&ratio=0.25&wait=YES&mode=safe&label=a%26b&token=t&timeout=1.5")
    assert dict(given_.options) == {
        "pool": 8,
        "ratio": 0.25,
        "wait": True,
        "mode": "safe",
        "label": "a&b",
        "token": Secret("t"),
    }
    assert given_.timeout == 1.5
    assert given_.url.endswith("label=a%26b&token=***&timeout=1.5")
    assert read("demo://h").timeout == 5.0


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (
            "pol=3",
            [
                "has no option 'pol'",
                "did you mean 'pool'?",
                "label, mode, namespace, password_file, pool, ratio, timeout, tok",
            ],
        ),
        ("zzz=3", ["has no option 'zzz'", "use one of its options: label"]),
        ("pool", ["'pool' has no value", "pool=value", "connections"]),
        ("pool=1&pool=2", ["'pool' is given twice"]),
        ("pool=x", ["'pool' is a whole number", "connections", "'x'"]),
        ("pool=1.5", ["'pool' is a whole number"]),
        ("pool=0", ["'pool' is at least 1 and at most 64", "pool='0'"]),
        ("pool=65", ["at most 64"]),
        ("pool=" + "9" * 5000, ["'pool' is a whole number"]),
        ("ratio=x", ["'ratio' is a number"]),
        ("ratio=nan", ["'ratio' is at most 1"]),
        ("ratio=-inf", ["'ratio' is at most 1"]),
        ("ratio=1.5", ["'ratio' is at most 1"]),
        ("wait=maybe", ["'wait' is yes or no", "true/false, on/off, 1/0", "'maybe'"]),
        ("mode=slow", ["'mode' is one of fast, safe", "'slow'"]),
        ("timeout=0", ["'timeout' is at least 0.001"]),
        ("timeout=inf", ["'timeout' is at least 0.001"]),
        ("ca=x", ["'ca' needs TLS; write demo+tls://"]),
    ],
)
def test_what_is_wrong_with_an_option_is_said_with_the_choices(query, words):
    message = complaint(f"demo://h?{query}")
    for word in words:
        assert word in message


# -- variants and TLS --------------------------------------------------------------------------------------


def test_tls_and_its_options():
    assert read("demo://h").tls is None
    assert read("demo+tls://h").tls == Tls()
    request = read("DEMO+TLS+quick://h?ca=a.pem&cert=c.pem&key=k.pem")
    assert request.tls == Tls("a.pem", "c.pem", "k.pem")
    assert request.variants == {"quick"}
    assert "come together" in complaint("demo+tls://h?cert=c.pem")
    assert "come together" in complaint("demo+tls://h?key=k.pem")


def test_a_variant_that_there_is_not():
    assert "no variant '+slow'; use one of its variants: demo+quick, demo+tls" in complaint("demo+slow://h")
    assert "its variants: none" in complaint("demo+tls://n", NAME)


# -- what isn't a URL --------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["", "demo", "demo:", "demo:/h", "//h", "1demo://h", "de_mo://h", " demo://h", "://h"])
def test_no_url(url):
    with pytest.raises(ConfigError, match="as in 'scheme://host:port/namespace'"):
        split(url)


@pytest.mark.parametrize("url", [None, b"demo://h", 7])
def test_not_even_text(url):
    with pytest.raises(ConfigError, match=f"not {type(url).__name__}"):
        split(url)


# -- passwords stay hidden ---------------------------------------------------------------------------------

TOKEN = "Tr0ub4dor"
_junk = st.text(alphabet=" /?#@:[]&=%+,;.\\~ab1é\n\t\0", max_size=6)
_scheme = st.sampled_from(["demo", "demo+tls", "demo+quick", "demo+x", "dmeo", "nosuch", "de_mo", "", " demo", "1"])
_separator = st.sampled_from(["://", "://", "://", ":/", "//", ":", "", ":///"])
_tail = st.sampled_from(
    ["@h", "@h:1", "@h:x", "@", "", "@[::1]:2", "@[::1", "@h,", "@h/ns", "@h/n@s", "@h?pool=4", "@h?pol=4", "@h?pool=x"]
)


@st.composite
def urls_with_a_password(draw):
    """Put together as people do who forget to encode, mistype or leave things out."""
    before, tail = draw(_junk), draw(_tail)
    assume("@" not in before or "@" in tail)  # else what follows the '@' simply is the host
    password = before + TOKEN + draw(_junk)
    user = draw(st.sampled_from(["user", "", "us er", "us@er", "u/s"]))
    assume("@" in tail or user != "u/s")  # else 'u' simply is the host, and the rest a namespace and options
    return f"{draw(_scheme)}{draw(_separator)}{user}:{password}{tail}"


def everything_said(url: str, of: BackendPlugin) -> str:
    """All text that parsing and using ``url`` produces."""
    try:
        request = read(url, of)
    except TenureError as exc:
        return "".join([str(exc), repr(exc), *traceback.format_exception(exc, limit=0)])
    assume(request.namespace == "" or TOKEN not in request.namespace)  # then it was no password to begin with
    assume(TOKEN not in "".join(host.name for host in request.hosts) + request.path + (request.username or ""))
    return f"{request} {request!r} {request.url}"


@given(urls_with_a_password())
@example(f"demo:/user:{TOKEN}@h")
@example(f"user:{TOKEN}@h:2379")
@example(f"demo//user:{TOKEN}@h")
@example(f"demo://user:{TOKEN}")
@example(f"demo://user:{TOKEN},b:1")
@example(f"demo://us@er:{TOKEN}/x@h")
@example(f"demo://user:x?{TOKEN}=y")
@example(f"demo://user:x?{TOKEN}@h")
@example(f"demo://user:[{TOKEN}")
@example(f"de_mo://h?token={TOKEN}")
@example(f"demo://h?token={TOKEN}")
@example(f"demo://h?token={TOKEN}&pool=x")
@example(f"demo://h?token={TOKEN}&token={TOKEN}")
@example(f"demo://h?tokken={TOKEN}")
@example(f"demo://h?token:{TOKEN}")
@example(f"demo://user%3A{TOKEN}@h")
def test_no_password_in_any_message_or_repr(url):
    assert TOKEN not in everything_said(url, HOSTS)


@given(urls_with_a_password())
@example(f"demo://user:{TOKEN}/x.db")
def test_no_password_where_none_belongs(url):
    assert TOKEN not in everything_said(url, FILE)


class _Leaky:
    """A plugin whose driver puts the password into its exception."""

    def __init__(self, error):
        self._error = error

    def describe(self):
        def fail(request):
            raise self._error(f"can't log in with {request.password.reveal()}")

        return plugin(scheme="leaky", open=fail)


@pytest.fixture
def serve():
    """Serves a scheme in this process for one test."""
    from tenure.hookspecs import hookimpl

    served = []

    def serve(scheme, describe):
        class Module:
            @hookimpl
            def tenure_backend(self):
                return describe()

        discovery.register(Module(), scheme)
        served.append(scheme)

    yield serve
    for scheme in served:
        discovery.unregister(scheme)


def test_a_drivers_own_error_is_not_repeated(serve):
    serve("leaky", _Leaky(RuntimeError).describe)
    with pytest.raises(TenureError, match="leaky://user:\\*\\*\\*@h: RuntimeError") as caught:
        connect(f"leaky://user:{TOKEN}@h")
    assert TOKEN not in str(caught.value)


def test_an_opened_store_shows_and_logs_no_password(serve, caplog):
    caplog.set_level(logging.DEBUG)
    serve("demo", plugin)
    with connect(f"demo://user:{TOKEN}@h?token={TOKEN}") as store:
        backend = store._backend
        backend.script("watch")
        store.put("a", b"")
        assert repr(store) == "<Store demo://user:***@h?token=***>"
        assert TOKEN not in f"{store} {store.url} {store.lease(5)!r} {vars(store)}"
    assert TOKEN not in caplog.text


def test_unknown_schemes_get_told_what_there_is():
    with pytest.raises(UnknownScheme, match=r"Did you mean memory://\? Installed: .*memory.*sqlite") as caught:
        connect(f"memroy://user:{TOKEN}@h")
    assert TOKEN not in str(caught.value)
