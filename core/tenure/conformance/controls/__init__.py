"""Controls over the server (kill, pause, partition ...): the interface, and ready-made ones."""
