"""The command `tenure demo`: a scenario of three worker processes, and its picture."""
