"""The agent of a host: watches a store once, and serves what it knows to the host's programs over a Unix socket.

:class:`Agent` is the process's side, which ``tenure agent`` runs. ``agent+unix:///path`` is the programs' side: a
backend whose watches and lists come from the agent. Reads of one key and writes go straight to the store that the URL
names by its option ``store``.
"""

from tenure.agent._server import Limits
from tenure.agent.agent import Agent, AgentSettings
from tenure.agent.status import AgentStatus, ask_status

__all__ = ["Agent", "AgentSettings", "AgentStatus", "Limits", "ask_status"]
