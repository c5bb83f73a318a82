"""The other faces of stored objects: what one client calls Event of events.k8s.io, another calls v1.

events, autoscaling   the conversions of one kind, pure
conversion            the table of them
components            ComponentStatuses, answered from the leases of the components
versions              `Versions`: the verbs over all of it
"""
