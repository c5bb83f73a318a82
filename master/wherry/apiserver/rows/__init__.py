"""The rows of the table of kinds (`wherry.apiserver.resources`), by field.

core       what the group "" has
workloads  apps, batch, autoscaling, policy, scheduling, node
network    networking, discovery, and our own overlay
storage    volumes and devices
access     who may do what: rbac, certificates, leases, flow control
extension  what changes the API server itself: webhooks, policies, APIServices
"""
