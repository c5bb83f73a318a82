"""Rows of what runs pods, and of what limits and orders them."""

from dataclasses import replace

from wherry.api import kinds
from wherry.apiserver.resource import ALL, SCALE, STATUS, Resource, stored

ROWS: tuple[Resource, ...] = (
    stored(kinds.CONTROLLER_REVISION),
    stored(kinds.DAEMON_SET, ("ds",), ALL, (STATUS,)),
    stored(kinds.DEPLOYMENT, ("deploy",), ALL, (STATUS, SCALE)),
    stored(kinds.REPLICA_SET, ("rs",), ALL, (STATUS, SCALE), ("status.replicas",)),
    stored(kinds.STATEFUL_SET, ("sts",), ALL, (STATUS, SCALE)),
    stored(kinds.CRON_JOB, ("cj",), ALL, (STATUS,)),
    replace(
        stored(kinds.JOB, (), ALL, (STATUS,), ("status.successful",)),
        unknown_field_words='field label "{path}" not supported for Job',
    ),
    stored(kinds.HORIZONTAL_POD_AUTOSCALER, ("hpa",), ALL, (STATUS,)),
    stored(kinds.POD_DISRUPTION_BUDGET, ("pdb",), (), (STATUS,)),
    stored(kinds.PRIORITY_CLASS, ("pc",)),
    stored(kinds.RUNTIME_CLASS),
)
VIEWS: tuple[Resource, ...] = (
    Resource(
        kinds.HORIZONTAL_POD_AUTOSCALER_V1,
        "horizontalpodautoscaler",
        "",
        ("hpa",),
        ALL,
        (STATUS,),
        stored_as=kinds.HORIZONTAL_POD_AUTOSCALER,
    ),
)
