"""What the agent reads of API objects: the whole of a Pod that makes containers.

The views are also what the checkpoint stores: encoding one gives the pod's JSON back, as
far as the agent decides on it.
"""

from typing import Any

import msgspec

from wherry.agent.volume_views import FieldRef, ResourceFieldRef, Volume
from wherry.api.objects import Condition, ContainerPort, ObjectMeta, ResourceRequirements, View


class LocalObjectReference(View, frozen=True, kw_only=True):
    """The name of an object in the pod's namespace."""

    name: str = ""


class KeySelector(View, frozen=True, kw_only=True):
    """`configMapKeyRef` and `secretKeyRef`."""

    name: str = ""
    key: str = ""
    optional: bool = False


class EnvVarSource(View, frozen=True, kw_only=True):
    """Where an environment variable's value comes from; one is set."""

    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None
    field_ref: FieldRef | None = None
    resource_field_ref: ResourceFieldRef | None = None


class EnvVar(View, frozen=True, kw_only=True):
    """Entry of `.env`."""

    name: str = ""
    value: str = ""
    value_from: EnvVarSource | None = None


class EnvSource(View, frozen=True, kw_only=True):
    """`configMapRef` or `secretRef` of an `.envFrom`."""

    name: str = ""
    optional: bool = False


class EnvFrom(View, frozen=True, kw_only=True):
    """Entry of `.envFrom`: every key of an object, with a prefix."""

    prefix: str = ""
    config_map_ref: EnvSource | None = None
    secret_ref: EnvSource | None = None


class ExecAction(View, frozen=True, kw_only=True):
    """A command to run in the container."""

    command: list[str] = []


class HttpHeader(View, frozen=True, kw_only=True):
    """A header of an HTTP probe or hook."""

    name: str = ""
    value: str = ""


class HttpGetAction(View, frozen=True, kw_only=True):
    """A request; `port` is a number or a container port's name."""

    path: str = "/"
    port: int | str = 0
    host: str = ""
    scheme: str = "HTTP"
    http_headers: list[HttpHeader] = []


class TcpSocketAction(View, frozen=True, kw_only=True):
    """A connection that has to open."""

    port: int | str = 0
    host: str = ""


class GrpcAction(View, frozen=True, kw_only=True):
    """A `grpc.health.v1` check."""

    port: int = 0
    service: str = ""


class SleepAction(View, frozen=True, kw_only=True):
    """A pause, as preStop hook."""

    seconds: int = 0


class Probe(View, frozen=True, kw_only=True):
    """A liveness, readiness or startup probe, with the API's defaults."""

    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    tcp_socket: TcpSocketAction | None = None
    grpc: GrpcAction | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 1
    period_seconds: int = 10
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None


class LifecycleHandler(View, frozen=True, kw_only=True):
    """A postStart or preStop hook."""

    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(View, frozen=True, kw_only=True):
    """`.lifecycle`."""

    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None


class SeccompProfile(View, frozen=True, kw_only=True):
    """RuntimeDefault, Unconfined or Localhost."""

    type: str = ""
    localhost_profile: str = ""


class Capabilities(View, frozen=True, kw_only=True):
    """Names without `CAP_`, or ALL."""

    add: list[str] = []
    drop: list[str] = []


class SecurityContext(View, frozen=True, kw_only=True):
    """A container's `.securityContext`; None means: as the pod says."""

    privileged: bool = False
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    read_only_root_filesystem: bool = False
    allow_privilege_escalation: bool | None = None
    capabilities: Capabilities | None = None
    seccomp_profile: SeccompProfile | None = None


class Sysctl(View, frozen=True, kw_only=True):
    """Entry of `.securityContext.sysctls`."""

    name: str = ""
    value: str = ""


class PodSecurityContext(View, frozen=True, kw_only=True):
    """A pod's `.securityContext`."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    fs_group: int | None = None
    supplemental_groups: list[int] = []
    seccomp_profile: SeccompProfile | None = None
    sysctls: list[Sysctl] = []


class VolumeMount(View, frozen=True, kw_only=True):
    """Entry of `.volumeMounts`."""

    name: str = ""
    mount_path: str = ""
    sub_path: str = ""
    sub_path_expr: str = ""
    read_only: bool = False
    mount_propagation: str = ""


class ResizePolicy(View, frozen=True, kw_only=True):
    """Entry of `.resizePolicy`: NotRequired or RestartContainer, for cpu or memory."""

    resource_name: str = ""
    restart_policy: str = "NotRequired"


class Container(View, frozen=True, kw_only=True):
    """A container, whole."""

    name: str = ""
    image: str = ""
    image_pull_policy: str = ""
    command: list[str] = []
    args: list[str] = []
    working_dir: str = ""
    ports: list[ContainerPort] = []
    env: list[EnvVar] = []
    env_from: list[EnvFrom] = []
    resources: ResourceRequirements = ResourceRequirements()
    resize_policy: list[ResizePolicy] = []
    volume_mounts: list[VolumeMount] = []
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle = Lifecycle()
    security_context: SecurityContext = SecurityContext()
    termination_message_path: str = "/dev/termination-log"
    termination_message_policy: str = "File"
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    restart_policy: str | None = None
    target_container_name: str = ""

    @property
    def sidecar(self) -> bool:
        """Tell whether an init container is one that keeps running."""
        return self.restart_policy == "Always"


class DnsOption(View, frozen=True, kw_only=True):
    """Entry of `.dnsConfig.options`."""

    name: str = ""
    value: str | None = None


class PodDnsConfig(View, frozen=True, kw_only=True):
    """`.dnsConfig`."""

    nameservers: list[str] = []
    searches: list[str] = []
    options: list[DnsOption] = []


class HostAlias(View, frozen=True, kw_only=True):
    """Entry of `.hostAliases`: a line of /etc/hosts."""

    ip: str = ""
    hostnames: list[str] = []


class ReadinessGate(View, frozen=True, kw_only=True):
    """A condition that somebody else sets and that Ready waits for."""

    condition_type: str = ""


class PodSpec(View, frozen=True, kw_only=True):
    """A Pod's `.spec`."""

    node_name: str = ""
    containers: list[Container] = []
    init_containers: list[Container] = []
    ephemeral_containers: list[Container] = []
    volumes: list[Volume] = []
    restart_policy: str = "Always"
    termination_grace_period_seconds: int = 30
    active_deadline_seconds: int | None = None
    dns_policy: str = "ClusterFirst"
    dns_config: PodDnsConfig | None = None
    host_network: bool = False
    host_pid: bool = msgspec.field(name="hostPID", default=False)
    host_ipc: bool = msgspec.field(name="hostIPC", default=False)
    share_process_namespace: bool = False
    security_context: PodSecurityContext = PodSecurityContext()
    image_pull_secrets: list[LocalObjectReference] = []
    hostname: str = ""
    subdomain: str = ""
    set_hostname_as_fqdn: bool = msgspec.field(name="setHostnameAsFQDN", default=False)
    host_aliases: list[HostAlias] = []
    enable_service_links: bool = True
    service_account_name: str = ""
    node_selector: dict[str, str] = {}
    readiness_gates: list[ReadinessGate] = []


class ContainerStatus(View, frozen=True, kw_only=True):
    """What was last said of a container; states stay as they were written."""

    name: str = ""
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    container_id: str = msgspec.field(name="containerID", default="")
    state: dict[str, Any] = {}
    last_state: dict[str, Any] = {}
    resources: ResourceRequirements | None = None


class PodStatus(View, frozen=True, kw_only=True):
    """A Pod's `.status`, as far as the next one is made from it."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: list[Condition] = []
    pod_ip: str = msgspec.field(name="podIP", default="")
    start_time: str | None = None
    container_statuses: list[ContainerStatus] = []
    init_container_statuses: list[ContainerStatus] = []
    ephemeral_container_statuses: list[ContainerStatus] = []


class Pod(View, frozen=True, kw_only=True):
    """A Pod as the agent sees it; `.status` is what it (or an earlier agent) last wrote."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def full_name(self) -> str:
        """Return `name_namespace(uid)`, as in messages."""
        return f"{self.metadata.name}_{self.metadata.namespace}({self.metadata.uid})"

    def container(self, name: str) -> Container | None:
        """Return the app, init or ephemeral container of that name."""
        spec = self.spec
        every = (*spec.containers, *spec.init_containers, *spec.ephemeral_containers)
        return next((c for c in every if c.name == name), None)

    def container_status(self, name: str) -> ContainerStatus | None:
        """Return what was last said of the container of that name."""
        said = self.status
        every = (
            *said.container_statuses,
            *said.init_container_statuses,
            *said.ephemeral_container_statuses,
        )
        return next((s for s in every if s.name == name), None)


class ConfigMap(View, frozen=True, kw_only=True):
    """A ConfigMap; binary data is base64."""

    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] = {}
    binary_data: dict[str, str] = {}


class Secret(View, frozen=True, kw_only=True):
    """A Secret; data is base64."""

    metadata: ObjectMeta = ObjectMeta()
    type: str = ""
    data: dict[str, str] = {}
