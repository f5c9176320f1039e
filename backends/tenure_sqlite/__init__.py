"""The embedded store: one SQLite file that all processes of a machine share, without a server.

``connect("sqlite:///var/lib/app/coordination.db")``. It uses the standard library only. Writes survive the
death of any process at any moment; with ``?synchronous=full`` also the loss of power. Leases go by a clock that
all processes of the machine share and that runs on while the machine sleeps; a reboot gives each lease its full
ttl again. The file belongs on a local disk: file locks of network filesystems can't be relied on.
"""

__all__: list[str] = []
