"""Rules that need a fault: in the network, in the server, or in the client's process."""
