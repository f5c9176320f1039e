"""Rules that need a fault: on the network, in the server, or in the process of the client."""
