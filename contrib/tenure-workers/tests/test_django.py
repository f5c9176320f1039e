"""Django's test project: the application's configuration in this process, gunicorn and ``runserver`` in real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
from worker_programs import EXAMPLES, Program

from tenure.registry import Registry
from tenure_testkit.servers.ports import free_port
from tenure_testkit.waiting import PATIENCE, until

SITE = EXAMPLES / "shop_site"


def entries(registry: Registry) -> set[str]:
    return {each.id for each in registry.get_services().get("shop", ())}


def run(code: str, **environment: str) -> str:
    """Run code in the project."""
    done = subprocess.run(
        [sys.executable, "-c", f"import django; django.setup()\n{code}"],
        cwd=SITE,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "settings", **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.stdout + done.stderr


def test_views_and_tests_with_other_settings_find_their_store() -> None:
    printed = run(
        """
from django.test import Client, override_settings
from tenure_workers.django import get_lifespan, get_store
client = Client()
print(client.get("/orders").json()["number"], client.get("/orders").json()["number"])
print(client.get("/instances").json()["instances"], get_lifespan().not_ready())
with override_settings(TENURE={"STORE_URL": "memory://other"}):
    print(get_store().url, client.get("/orders").json()["number"])
print(get_store().url)
"""
    )
    assert printed.splitlines() == ["1 2", "[] []", "memory://other 1", "memory://"]


def test_a_wrong_setting_is_refused_at_the_start() -> None:
    printed = run(
        """
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from tenure_workers.django import forget_lifespan, get_lifespan
for wrong in (None, {"STORE_URL": 5}, {"STORE_URL": "memory://", "DRAIN_WAIT": 9}):
    forget_lifespan()
    settings.TENURE = wrong
    try:
        get_lifespan()
    except ImproperlyConfigured as error:
        print(str(error)[:72])
"""
    )
    assert printed.splitlines() == [
        "reading settings.TENURE: it is a dictionary with the store's URL, not No",
        "reading settings.TENURE: it is a dictionary with the store's URL, not {'",
        "reading settings.TENURE: making a lifespan: drain_wait is a number of se",
    ]


def test_gunicorn_registers_a_project(sqlite_url: str, tmp_path: Path, registry: Registry) -> None:
    port = free_port()
    with Program(
        tmp_path / "log",
        *("-m", "gunicorn", "--config=../gunicorn.conf.py", f"--bind=127.0.0.1:{port}", "--no-control-socket", "wsgi"),
        cwd=SITE,
        STORE=sqlite_url,
        PORT=str(port),
    ) as program:
        until(lambda: len(entries(registry)) == 2, what="two workers")
        assert httpx.get(f"http://127.0.0.1:{port}/health/live").json() == {"live": True}
        assert [httpx.get(f"http://127.0.0.1:{port}/orders").json()["number"] for _ in range(3)] == [1, 2, 3]
        program.terminate()
        assert program.wait() == 0, program.log
        assert entries(registry) == set()


def test_runserver_registers_again_when_it_reloads(sqlite_url: str, tmp_path: Path, registry: Registry) -> None:
    port = free_port()
    touched = tmp_path / "touched.py"
    touched.write_text("")
    with Program(
        tmp_path / "log",
        *("manage.py", "runserver", f"127.0.0.1:{port}"),
        cwd=SITE,
        STORE=sqlite_url,
        PORT=str(port),
        PYTHONPATH=str(tmp_path),
        DJANGO_SETTINGS_MODULE="settings",
    ) as program:
        until(lambda: len(entries(registry)) == 1, what="the process that serves")
        before = entries(registry)
        until(lambda: httpx.get(f"http://127.0.0.1:{port}/orders").status_code == 200, what="it serves")
        stat = (SITE / "urls.py").stat()
        try:
            os.utime(SITE / "urls.py")  # as an editor that saves
            until(lambda: entries(registry) and not entries(registry) & before, what="the next process")
        finally:
            os.utime(SITE / "urls.py", (stat.st_atime, stat.st_mtime))
        os.killpg(program.process.pid, signal.SIGTERM)
        program.wait()
        until(lambda: not entries(registry), what="no entry is left")
