"""What tests of plugins share: real servers in containers, probes for backends, a toy store on a socket."""
