"""The proxy subresource of pods, services and nodes: HTTP to what runs in the cluster.

`target` decides where a request goes, `rewrite` what it and its answer look like on the other
side; `door` finds the objects, opens the way and passes bytes on. A pod is reached by the agent
of its node, as exec is: an API server may have no route into the network of pods.
"""
