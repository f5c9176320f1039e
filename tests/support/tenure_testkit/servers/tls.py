"""Certificates for test servers: an authority of our own, a server's on 127.0.0.1 and a client's.

Made by `trustme`, which is imported when the first certificate is wanted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

INNER = "/etc/tenure-tests"
"""Where a server finds its files inside its container."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """Paths of PEM files. `other_ca` has signed none of them: what a client must not accept."""

    ca: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path
    other_ca: Path

    @classmethod
    def make(cls, folder: Path, client_name: str | None = None) -> "Certificates":
        """Make them all in `folder`.

        With a `client_name` the client's certificate has it as its common name, which some servers take for a user.
        """
        import trustme

        authority = trustme.CA()
        server = authority.issue_cert("127.0.0.1", "localhost")
        client = authority.issue_cert("client.invalid", common_name=client_name)
        made = cls(
            ca=folder / "ca.pem",
            server_cert=folder / "server.pem",
            server_key=folder / "server.key",
            client_cert=folder / "client.pem",
            client_key=folder / "client.key",
            other_ca=folder / "other-ca.pem",
        )
        made.ca.write_bytes(authority.cert_pem.bytes())
        made.server_cert.write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
        made.server_key.write_bytes(server.private_key_pem.bytes())
        made.client_cert.write_bytes(b"".join(blob.bytes() for blob in client.cert_chain_pems))
        made.client_key.write_bytes(client.private_key_pem.bytes())
        made.other_ca.write_bytes(trustme.CA().cert_pem.bytes())
        return made

    def files(self) -> Mapping[str, bytes]:
        """The files for a container, by their paths in `INNER`: of the authority, the server and the client."""
        named = {
            "ca.pem": self.ca,
            "server.pem": self.server_cert,
            "server.key": self.server_key,
            "client.pem": self.client_cert,
            "client.key": self.client_key,
        }
        return {f"{INNER}/{name}": path.read_bytes() for name, path in named.items()}

    def url_options(self, *, client_certs: bool) -> dict[str, str]:
        """Options of Tenure's URLs: whom to trust and, with `client_certs`, what to show."""
        options = {"ca": str(self.ca)}
        if client_certs:
            options |= {"cert": str(self.client_cert), "key": str(self.client_key)}
        return options
