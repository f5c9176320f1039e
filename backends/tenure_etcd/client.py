"""Makes the etcd3 client that owns the channel to one member: its target, its TLS, its settings.

etcd3 knows one host and port, which it joins by a colon; a gRPC target that lists several addresses passes
through that unharmed. It is built without user and password, which would make it talk to the server at once.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tenure.errors import ConfigError
from tenure.spi.plugin import Host, Tls
from tenure_etcd.etcd3_import import import_etcd3, import_grpc

grpc = import_grpc()
etcd3 = import_etcd3()

_WINDOW = 1 << 20
"""Bytes of an answer that may be under way: enough for 20 MB/s over 50 ms."""
_OLDEST_GRPC = (1, 80)
"""Before, gRPC made progress with a connection only while a call waited on it, so calls that fail at once never
saw a restarted server again; and a child forked in the middle of calls hung. Both measured up to 1.78."""


def open_client(target: str, *, hosts: Sequence[Host], tls: Tls | None, options: Mapping[str, Any]) -> Any:
    """An ``Etcd3Client`` for all addresses of ``target``; doesn't connect yet.

    Its TLS looks for the first name of ``hosts`` in the certificate, if no other one is given.

    Raises ``ConfigError`` for certificate files that can't be read, and for a gRPC that is too old.
    """
    check_grpc(grpc.__version__)
    settings = _channel_settings(options)
    files: dict[str, str] = {}
    if tls is not None:
        # The addresses in the target say nothing about names.
        settings.append(("grpc.default_authority", options["server_name"] or hosts[0].name))
        files = _tls_files(tls)
    elif options["server_name"]:
        raise ConfigError("the option server_name is for TLS: write +tls after the URL's scheme, or leave it out")
    host, _, port = target.rpartition(":")
    return etcd3.Etcd3Client(host=host, port=port, grpc_options=settings, **files)


def check_grpc(version: str) -> None:
    """Raise ``ConfigError`` for a version of grpcio that doesn't reconnect and fork as this plugin needs it."""
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < _OLDEST_GRPC:
        raise ConfigError(f"grpcio {version} is too old for this plugin: pip install 'grpcio>=1.80'")


def _channel_settings(options: Mapping[str, Any]) -> list[tuple[str, Any]]:
    keepalive_timeout = int(options["keepalive_timeout"] * 1000)
    return [
        # Lists may be of any size; gRPC would stop at 4 MiB.
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", int(options["keepalive"] * 1000)),
        # Both are needed: with the first alone a frozen server is noticed after a minute.
        ("grpc.keepalive_timeout_ms", keepalive_timeout),
        ("grpc.http2.ping_timeout_ms", keepalive_timeout),
        # gRPC pings beside each answer to measure the link, and takes a late reply for a broken connection. On a slow
        # link the reply comes after the answer, so nothing long would ever arrive. Keepalive pings wait for silence.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", _WINDOW),
        # gRPC would ask an HTTP proxy of the environment for the address, as no other store's client does.
        ("grpc.enable_http_proxy", 0),
        # A quiet watch sends nothing but pings.
        ("grpc.http2.max_pings_without_data", 0),
        # Short, so that a restarted server is found at once; gRPC's own grow to two minutes. The middle one is the
        # time that one attempt gets, TLS handshake included.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 3000),
        ("grpc.max_reconnect_backoff_ms", 1000),
        # Two stores in one process must not share a connection: closing one would disturb the other.
        ("grpc.use_local_subchannel_pool", 1),
        # Core decides what is repeated. (It also makes each call some per cent cheaper.)
        ("grpc.enable_retries", 0),
    ]


def _tls_files(tls: Tls) -> dict[str, str]:
    files = {"ca_cert": tls.ca or _system_roots()}
    if tls.cert is not None and tls.key is not None:
        files.update(cert_cert=tls.cert, cert_key=tls.key)
    for option, path in zip(("ca", "cert", "key"), files.values(), strict=False):
        _check_pem(option, path)
    return files


def _system_roots() -> str:
    found = ssl.get_default_verify_paths().cafile
    if found is None:
        raise ConfigError("this system has no file of root certificates: give one by the option ca=/path/to/ca.pem")
    return found


def _check_pem(option: str, path: str) -> None:
    try:
        content = Path(path).read_bytes()
    except OSError as exc:
        raise ConfigError(f"can't read the file of the option {option}: {path}: {exc.strerror}") from exc
    if b"-----BEGIN" not in content:
        raise ConfigError(f"the file of the option {option} isn't in PEM form: {path}")
