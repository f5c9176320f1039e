"""What tests of plugins use in place of the Store: sinks, a relay that loses answers, forks, and so on."""

from tenure_testkit.probes.forking import forked
from tenure_testkit.probes.opening import closing_all, open_url, put
from tenure_testkit.probes.recorder import Recorder
from tenure_testkit.probes.relay import Relay

__all__ = ["Recorder", "Relay", "closing_all", "forked", "open_url", "put"]
