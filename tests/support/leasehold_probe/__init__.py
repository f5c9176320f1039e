"""What tests of plugins use in place of the Store: sinks, a relay that loses answers, forks, and so on."""

from leasehold_probe.forking import forked
from leasehold_probe.opening import closing_all, open_url, put
from leasehold_probe.recorder import Recorder
from leasehold_probe.relay import Relay

__all__ = ["Recorder", "Relay", "closing_all", "forked", "open_url", "put"]
