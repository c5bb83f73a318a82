"""From a client to the agent of the node where its pod runs: logs, exec, attach, port-forward.

`pod` decides (which container, which path on the agent, what may be asked of it), `agent`
speaks HTTP/1.1 to an agent, `door` joins the two. The bytes of an upgraded connection,
SPDY or WebSocket, are copied unchanged: only containerd's stream server understands them.
"""
