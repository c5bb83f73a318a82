"""Rows of the core group and of events."""

from wherry.api import kinds
from wherry.apiserver.resource import ALL, SCALE, STATUS, Resource, Subresource, stored

_STREAM = ("create", "get")
_EVENT_FIELDS = (
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
)
_PROXY = ("create", "delete", "get", "patch", "update")
_POD_SUBRESOURCES = (
    STATUS,
    Subresource("binding", ("create",), ("", "v1", "Binding")),
    Subresource("eviction", ("create",), ("policy", "v1", "Eviction")),
    Subresource("ephemeralcontainers"),
    Subresource("resize"),
    Subresource("log", ("get",)),
    Subresource("exec", _STREAM, ("", "v1", "PodExecOptions")),
    Subresource("attach", _STREAM, ("", "v1", "PodAttachOptions")),
    Subresource("portforward", _STREAM, ("", "v1", "PodPortForwardOptions")),
    Subresource("proxy", _PROXY, ("", "v1", "PodProxyOptions")),
)
_POD_FIELDS = (
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
)
_NODE_PROXY = Subresource("proxy", _PROXY, ("", "v1", "NodeProxyOptions"))
_SERVICE_PROXY = Subresource("proxy", _PROXY, ("", "v1", "ServiceProxyOptions"))
_TOKEN = Subresource("token", ("create",), ("authentication.k8s.io", "v1", "TokenRequest"))
_FINALIZE = Subresource("finalize", ("update",))

ROWS: tuple[Resource, ...] = (
    stored(kinds.NAMESPACE, ("ns",), (), (STATUS, _FINALIZE), ("status.phase",)),
    stored(
        kinds.NODE,
        ("no",),
        (),
        (STATUS, _NODE_PROXY),
        ("spec.unschedulable",),
        prefix="/registry/minions/",
    ),
    stored(kinds.POD, ("po",), ALL, _POD_SUBRESOURCES, _POD_FIELDS),
    stored(
        kinds.SERVICE,
        ("svc",),
        ALL,
        (STATUS, _SERVICE_PROXY),
        ("spec.clusterIP", "spec.type"),
        prefix="/registry/services/specs/",
    ),
    stored(
        kinds.ENDPOINTS,
        ("ep",),
        prefix="/registry/services/endpoints/",
        deprecated="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    ),
    stored(kinds.CONFIG_MAP, ("cm",)),
    stored(kinds.SECRET, field_selectors=("type",)),
    stored(kinds.SERVICE_ACCOUNT, ("sa",), (), (_TOKEN,)),
    stored(kinds.EVENT, ("ev",), field_selectors=_EVENT_FIELDS),
    stored(
        kinds.REPLICATION_CONTROLLER,
        ("rc",),
        ALL,
        (STATUS, SCALE),
        ("status.replicas",),
        prefix="/registry/controllers/",
    ),
    stored(kinds.LIMIT_RANGE, ("limits",)),
    stored(kinds.PERSISTENT_VOLUME, ("pv",), (), (STATUS,)),
    stored(kinds.PERSISTENT_VOLUME_CLAIM, ("pvc",), (), (STATUS,)),
    stored(kinds.POD_TEMPLATE),
    stored(kinds.RESOURCE_QUOTA, ("quota",), (), (STATUS,)),
)
VIEWS: tuple[Resource, ...] = (
    Resource(
        kinds.EVENT_V1,
        "event",
        "",
        ("ev",),
        field_selectors=tuple(
            field.replace("involvedObject.", "regarding.").replace("Component", "Controller")
            for field in _EVENT_FIELDS
            if field != "source"
        ),
        stored_as=kinds.EVENT,
    ),
    Resource(kinds.BINDING, "binding", "", verbs=("create",), stored_as=kinds.POD),
    Resource(
        kinds.COMPONENT_STATUS,
        "componentstatus",
        "",
        ("cs",),
        verbs=("get", "list"),
        stored_as=kinds.LEASE,
        deprecated="v1 ComponentStatus is deprecated in v1.19+",
    ),
)
