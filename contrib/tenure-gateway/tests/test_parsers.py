"""nginx and HAProxy read back, to the character, what the filters have quoted."""

from __future__ import annotations

import random
import string
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from programs import Programs
from tenure_gateway.directory import Sight
from tenure_gateway.render.templates import Template

from tenure_testkit.servers.ports import free_port
from tenure_testkit.waiting import until

COUNT = 200
ALPHABET = string.punctuation + " aZ09é☃"

NGINX = """\
pid {{ key('pid') }}; error_log stderr; events { } http { access_log off; server { listen 127.0.0.1:{{ key('port') }};
{% for name, text in keys('').items() %}
location = /{{ name }} { return 200 {{ text|nginx }}; }
{% endfor %}
} }
"""
HAPROXY = """\
defaults
    mode http
    timeout connect 9s
    timeout client 9s
    timeout server 9s
frontend all
    bind 127.0.0.1:{{ key('port') }}
{% for name, text in keys('').items() %}
    http-request return status 200 content-type text/plain string {{ text|haproxy }} if { path /{{ name }} }
{% endfor %}
"""


class Texts:
    """Keys of a test: settings, and random texts without the characters that the filter refuses."""

    def __init__(self, refused: str, **settings: str) -> None:
        self._settings = settings
        chosen = random.Random(13)
        alphabet = [character for character in ALPHABET if character != refused]
        self.all = {f"n{number}": "".join(chosen.choices(alphabet, k=1 + number % 30)) for number in range(COUNT)}

    def key(self, name: str) -> str | None:
        return self._settings[name]

    def keys(self, prefix: str) -> dict[str, str]:
        return self.all


@pytest.mark.parametrize(("name", "template", "refused"), [("nginx", NGINX, "$"), ("haproxy", HAPROXY, "%")])
def test_every_text_comes_back_as_it_was(
    name: str, template: str, refused: str, programs: Programs, tmp_path: Path
) -> None:
    port, pid, out = free_port(), tmp_path / "pid", tmp_path / "out.conf"
    texts = Texts(refused, port=str(port), pid=str(pid))
    (tmp_path / "in.j2").write_text(template)
    out.write_bytes(Template(tmp_path / "in.j2").render(Sight({}), texts))
    programs.run(*(("nginx", "-c", out) if name == "nginx" else ("haproxy", "-D", "-p", pid, "-f", out)))

    def read_back(key: str) -> str | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{key}", timeout=60) as answer:
                return answer.read().decode()
        except OSError:
            return None

    try:
        until(lambda: read_back("n0"), what="it listens")
        assert {key: read_back(key) for key in texts.all} == texts.all
    finally:
        programs.run("sh", "-c", f"kill {pid.read_text().strip()}")
