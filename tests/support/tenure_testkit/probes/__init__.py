"""What tests of plugins use in place of the Store: sinks, backends closed at the end, a relay that loses answers."""

from tenure_testkit.probes.opening import closing_all, open_url, put
from tenure_testkit.probes.recorder import Recorder
from tenure_testkit.probes.relay import Relay

__all__ = ["Recorder", "Relay", "closing_all", "open_url", "put"]
