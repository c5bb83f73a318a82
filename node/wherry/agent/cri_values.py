"""Between CRI messages and the agent's values; no I/O."""

from collections.abc import Mapping
from typing import Final

from wherry.agent.configure import POD_NAME, POD_NAMESPACE, POD_UID
from wherry.agent.runtime import (
    ContainerRecord,
    ContainerState,
    ContainerStats,
    Image,
    RuntimeEvent,
    RuntimeEventKind,
    Sandbox,
)
from wherry.agent.runtime_config import (
    ContainerConfig,
    Namespaces,
    PodRef,
    Resources,
    SandboxConfig,
)
from wherry.wire.containerd import events_pb2
from wherry.wire.cri import runtime_pb2 as pb

_NS: Final = 1e9
_STATES: Final[dict[int, ContainerState]] = {
    pb.CONTAINER_CREATED: ContainerState.CREATED,
    pb.CONTAINER_RUNNING: ContainerState.RUNNING,
    pb.CONTAINER_EXITED: ContainerState.EXITED,
    pb.CONTAINER_UNKNOWN: ContainerState.UNKNOWN,
}
_PROPAGATION: Final[dict[str, "pb.MountPropagation.ValueType"]] = {
    "HostToContainer": pb.PROPAGATION_HOST_TO_CONTAINER,
    "Bidirectional": pb.PROPAGATION_BIDIRECTIONAL,
}
_PROTOCOLS: Final[dict[str, "pb.Protocol.ValueType"]] = {
    "TCP": pb.TCP,
    "UDP": pb.UDP,
    "SCTP": pb.SCTP,
}
# The paths that Docker hides and the kubelet therefore names for every container.
MASKED_PATHS: Final = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
)
READONLY_PATHS: Final = (
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
)


def pod_of_labels(labels: Mapping[str, str]) -> PodRef:
    """Return the pod that the labels name."""
    return PodRef(labels.get(POD_NAMESPACE, ""), labels.get(POD_NAME, ""), labels.get(POD_UID, ""))


def sandbox(item: pb.PodSandbox, address: str) -> Sandbox:
    """Read a sandbox."""
    meta = item.metadata
    return Sandbox(
        id=item.id,
        pod=PodRef(meta.namespace, meta.name, meta.uid),
        attempt=meta.attempt,
        ready=item.state == pb.SANDBOX_READY,
        created_at=item.created_at / _NS,
        ip=address,
    )


def record(status: pb.ContainerStatus, sandbox_id: str) -> ContainerRecord:
    """Read a container's status."""
    return ContainerRecord(
        id=status.id,
        sandbox_id=sandbox_id,
        name=status.metadata.name,
        attempt=status.metadata.attempt,
        state=_STATES[status.state],
        image=status.image.image,
        image_ref=status.image_ref,
        created_at=status.created_at / _NS,
        started_at=max(status.started_at, 0) / _NS,
        finished_at=max(status.finished_at, 0) / _NS,
        exit_code=status.exit_code,
        reason=status.reason,
        message=status.message,
        annotations=dict(status.annotations),
    )


def image(message: pb.Image) -> Image:
    """Read an image."""
    return Image(
        id=message.id,
        tags=tuple(message.repo_tags),
        digests=tuple(message.repo_digests),
        size_bytes=message.size,
        uid=message.uid.value if message.HasField("uid") else None,
        username=message.username,
        pinned=message.pinned,
    )


def stats(message: pb.ContainerStats) -> ContainerStats:
    """Read a container's use."""
    return ContainerStats(
        id=message.attributes.id,
        name=message.attributes.metadata.name,
        pod=pod_of_labels(message.attributes.labels),
        at=message.cpu.timestamp / _NS,
        cpu_usage_ns=message.cpu.usage_core_nano_seconds.value,
        memory_working_set_bytes=message.memory.working_set_bytes.value,
        rootfs_used_bytes=message.writable_layer.used_bytes.value,
    )


def event(envelope: events_pb2.Envelope) -> RuntimeEvent | None:
    """Read an event; the end of an exec'd process is none."""
    raw = envelope.event.value
    match envelope.topic:
        case "/tasks/exit":
            ended = events_pb2.TaskExit.FromString(raw)
            if ended.id != ended.container_id:
                return None
            return RuntimeEvent(RuntimeEventKind.EXITED, ended.container_id)
        case "/tasks/oom":
            return RuntimeEvent(
                RuntimeEventKind.OOM, events_pb2.TaskOOM.FromString(raw).container_id
            )
        case "/tasks/start":
            return RuntimeEvent(
                RuntimeEventKind.STARTED, events_pb2.TaskStart.FromString(raw).container_id
            )
        case _:
            return None


def sandbox_message(config: SandboxConfig) -> pb.PodSandboxConfig:
    """Write a sandbox's configuration."""
    pod = config.pod
    message = pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(
            name=pod.name, uid=pod.uid, namespace=pod.namespace, attempt=config.attempt
        ),
        hostname=config.hostname,
        log_directory=config.log_directory,
        dns_config=pb.DNSConfig(
            servers=config.dns.servers, searches=config.dns.searches, options=config.dns.options
        ),
        labels=config.labels,
        annotations=config.annotations,
    )
    for port in config.ports:
        message.port_mappings.add(
            protocol=_PROTOCOLS.get(port.protocol, pb.TCP),
            container_port=port.container_port,
            host_port=port.host_port,
            host_ip=port.host_ip,
        )
    message.linux.cgroup_parent = config.cgroup_parent
    message.linux.sysctls.update(config.sysctls)
    security = message.linux.security_context
    security.namespace_options.CopyFrom(_namespaces(config.namespaces))
    security.privileged = config.privileged
    security.seccomp.CopyFrom(_seccomp("Unconfined" if config.privileged else config.seccomp))
    return message


def container_message(config: ContainerConfig, sandbox_config: SandboxConfig) -> pb.ContainerConfig:
    """Write a container's configuration."""
    message = pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name=config.name, attempt=config.attempt),
        image=pb.ImageSpec(image=config.image),
        command=config.command,
        args=config.args,
        working_dir=config.working_dir,
        envs=[pb.KeyValue(key=k, value=v) for k, v in config.env],
        labels=config.labels,
        annotations=config.annotations,
        log_path=config.log_path,
        stdin=config.stdin,
        stdin_once=config.stdin_once,
        tty=config.tty,
    )
    for mount in config.mounts:
        message.mounts.add(
            container_path=mount.container_path,
            host_path=mount.host_path,
            readonly=mount.readonly,
            propagation=_PROPAGATION.get(mount.propagation, pb.PROPAGATION_PRIVATE),
        )
    write_resources(config.resources, message.linux.resources)
    _write_security(config, sandbox_config, message.linux.security_context)
    return message


def write_resources(resources: Resources, message: pb.LinuxContainerResources) -> None:
    """Write cgroup values; 0 leaves what is there."""
    message.cpu_shares = resources.cpu_shares
    message.cpu_quota = resources.cpu_quota_us
    message.cpu_period = resources.cpu_period_us
    message.memory_limit_in_bytes = resources.memory_limit_bytes
    message.oom_score_adj = resources.oom_score_adj


def _write_security(
    config: ContainerConfig,
    sandbox_config: SandboxConfig,
    message: pb.LinuxContainerSecurityContext,
) -> None:
    security = config.security
    message.namespace_options.CopyFrom(_namespaces(sandbox_config.namespaces))
    if config.target_id:
        message.namespace_options.pid = pb.TARGET
        message.namespace_options.target_id = config.target_id
    message.privileged = security.privileged
    if security.run_as_user is not None:
        message.run_as_user.value = security.run_as_user
    if security.run_as_group is not None and security.run_as_user is not None:
        message.run_as_group.value = security.run_as_group
    message.supplemental_groups.extend(security.supplemental_groups)
    message.readonly_rootfs = security.readonly_rootfs
    message.no_new_privs = security.no_new_privs
    message.capabilities.add_capabilities.extend(security.add_capabilities)
    message.capabilities.drop_capabilities.extend(security.drop_capabilities)
    message.seccomp.CopyFrom(_seccomp(security.seccomp))
    if not security.privileged:
        message.masked_paths.extend(MASKED_PATHS)
        message.readonly_paths.extend(READONLY_PATHS)


def _namespaces(namespaces: Namespaces) -> pb.NamespaceOption:
    shared = pb.POD if namespaces.share_pid else pb.CONTAINER
    return pb.NamespaceOption(
        network=pb.NODE if namespaces.host_network else pb.POD,
        pid=pb.NODE if namespaces.host_pid else shared,
        ipc=pb.NODE if namespaces.host_ipc else pb.POD,
    )


def _seccomp(profile: str) -> pb.SecurityProfile:
    if profile == "RuntimeDefault":
        return pb.SecurityProfile(profile_type=pb.SecurityProfile.RuntimeDefault)
    if profile == "Unconfined":
        return pb.SecurityProfile(profile_type=pb.SecurityProfile.Unconfined)
    return pb.SecurityProfile(profile_type=pb.SecurityProfile.Localhost, localhost_ref=profile)
