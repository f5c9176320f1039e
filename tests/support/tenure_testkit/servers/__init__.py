"""Real servers for tests, in containers that can be killed, frozen, restarted and emptied.

`plugin` holds the pytest fixtures; the classes can be used without pytest too. Importing this package imports no
Docker library: that happens when the first container is wanted.
"""

from tenure_testkit.servers.etcd import EtcdServer
from tenure_testkit.servers.etcd_cluster import EtcdCluster
from tenure_testkit.servers.etcd_gateway import Gateway, GatewayError
from tenure_testkit.servers.tls import Certificates
from tenure_testkit.waiting import NotInTime, until

__all__ = ["Certificates", "EtcdCluster", "EtcdServer", "Gateway", "GatewayError", "NotInTime", "until"]
