"""From a pod to what the runtime is told: sandbox and container configurations."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from wherry.agent.environment import ContainerConfigError, expand
from wherry.agent.plan import StartContainer
from wherry.agent.resize import RESOURCES_ANNOTATION, written
from wherry.agent.resources import container_resources, pod_cgroup
from wherry.agent.runtime import Image
from wherry.agent.runtime_config import (
    BACKOFF_ANNOTATION,
    INIT_ANNOTATION,
    ContainerConfig,
    DnsSettings,
    Mount,
    Namespaces,
    PodRef,
    PortMapping,
    SandboxConfig,
    Security,
)
from wherry.agent.sync import GRACE_ANNOTATION
from wherry.agent.views import Container, Pod, SeccompProfile

POD_NAME: Final = "io.kubernetes.pod.name"
POD_NAMESPACE: Final = "io.kubernetes.pod.namespace"
POD_UID: Final = "io.kubernetes.pod.uid"
CONTAINER_NAME: Final = "io.kubernetes.container.name"
RESTART_COUNT: Final = "io.kubernetes.container.restartCount"
MESSAGE_PATH: Final = "io.kubernetes.container.terminationMessagePath"
MESSAGE_POLICY: Final = "io.kubernetes.container.terminationMessagePolicy"
MOST_HOSTNAME: Final = 63


@dataclass(frozen=True, slots=True)
class PodSettings:
    """What the node adds to every pod.

    `host_dns` is the node's own resolv.conf; `log_root` is where pod log directories go.
    """

    log_root: str
    cluster_dns: tuple[str, ...] = ("10.96.0.10",)
    cluster_domain: str = "cluster.local"
    host_dns: DnsSettings = field(default_factory=DnsSettings)
    cgroup_root: str = ""
    node_memory_bytes: int = 0
    node_cpu_millicores: int = 0
    seccomp_default: str = "RuntimeDefault"


def pod_ref(pod: Pod) -> PodRef:
    """Return the pod's identity."""
    return PodRef(pod.metadata.namespace, pod.metadata.name, pod.metadata.uid)


def log_directory(pod: PodRef, log_root: str) -> str:
    """Return `<root>/<namespace>_<name>_<uid>`, the kubelet's layout."""
    return f"{log_root}/{pod.namespace}_{pod.name}_{pod.uid}"


def labels_of(pod: PodRef) -> dict[str, str]:
    """Return the labels by which an agent recognises its pods."""
    return {POD_NAME: pod.name, POD_NAMESPACE: pod.namespace, POD_UID: pod.uid}


def hostname(pod: Pod) -> str:
    """Return the pod's host name: its own or its name's first 63 characters."""
    return (pod.spec.hostname or pod.metadata.name)[:MOST_HOSTNAME].rstrip("-.")


def domain_name(pod: Pod, cluster_domain: str) -> str:
    """Return the pod's full name under its subdomain, "" where it has none."""
    if not pod.spec.subdomain:
        return ""
    return f"{hostname(pod)}.{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{cluster_domain}"


def sandbox_config(pod: Pod, attempt: int, settings: PodSettings) -> SandboxConfig:
    """Return the configuration of the pod's sandbox."""
    spec = pod.spec
    name = hostname(pod)
    if spec.set_hostname_as_fqdn and (full := domain_name(pod, settings.cluster_domain)):
        name = full
    return SandboxConfig(
        pod=pod_ref(pod),
        attempt=attempt,
        # The runtime refuses a host name where the pod has no UTS namespace of its own.
        hostname="" if spec.host_network else name,
        log_directory=log_directory(pod_ref(pod), settings.log_root),
        cgroup_parent=pod_cgroup(pod, settings.cgroup_root).path,
        dns=dns_settings(pod, settings),
        ports=() if spec.host_network else _port_mappings(pod),
        labels={**pod.metadata.labels, **labels_of(pod_ref(pod))},
        annotations=dict(pod.metadata.annotations),
        namespaces=Namespaces(
            spec.host_network, spec.host_pid, spec.host_ipc, spec.share_process_namespace
        ),
        sysctls={s.name: s.value for s in spec.security_context.sysctls},
        privileged=any(
            c.security_context.privileged for c in (*spec.containers, *spec.init_containers)
        ),
        seccomp=_seccomp(spec.security_context.seccomp_profile, None, settings.seccomp_default),
    )


def _port_mappings(pod: Pod) -> tuple[PortMapping, ...]:
    containers = (*pod.spec.containers, *(c for c in pod.spec.init_containers if c.sidecar))
    return tuple(
        PortMapping(p.container_port, p.host_port, p.protocol, p.host_ip)
        for c in containers
        for p in c.ports
        if p.host_port
    )


def dns_settings(pod: Pod, settings: PodSettings) -> DnsSettings:
    """Return the pod's resolv.conf, by its dnsPolicy."""
    policy = pod.spec.dns_policy
    if policy == "ClusterFirst" and pod.spec.host_network:
        policy = (
            "Default"  # a pod on the host's network says ClusterFirstWithHostNet if it means it
        )
    if policy in ("ClusterFirst", "ClusterFirstWithHostNet") and settings.cluster_dns:
        domain = settings.cluster_domain
        searches = (f"{pod.metadata.namespace}.svc.{domain}", f"svc.{domain}", domain)
        base = DnsSettings(
            settings.cluster_dns, (*searches, *settings.host_dns.searches), ("ndots:5",)
        )
    elif policy == "None":
        base = DnsSettings()
    else:
        base = settings.host_dns
    return _with_dns_config(pod, base)


def _with_dns_config(pod: Pod, base: DnsSettings) -> DnsSettings:
    extra = pod.spec.dns_config
    if extra is None:
        return base
    named = {option.partition(":")[0]: option for option in base.options}
    named |= {o.name: f"{o.name}:{o.value}" if o.value else o.name for o in extra.options}
    return DnsSettings(
        _unique((*base.servers, *extra.nameservers)),
        _unique((*base.searches, *extra.searches)),
        tuple(named.values()),
    )


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def hosts_file(pod: Pod, pod_ip: str, settings: PodSettings) -> str:
    """Return /etc/hosts of a pod that has its own network."""
    full = domain_name(pod, settings.cluster_domain)
    names = f"{full}\t{hostname(pod)}" if full else hostname(pod)
    lines = [
        "# Kubernetes-managed hosts file.",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "fe00::0\tip6-mcastprefix",
        "fe00::1\tip6-allnodes",
        "fe00::2\tip6-allrouters",
        f"{pod_ip}\t{names}",
    ]
    if pod.spec.host_aliases:
        lines += ["", "# Entries added by HostAliases."]
        lines += ["\t".join((a.ip, *a.hostnames)) for a in pod.spec.host_aliases]
    return "\n".join(lines) + "\n"


def container_config(
    pod: Pod,
    container: Container,
    start: StartContainer,
    image: Image,
    env: Mapping[str, str],
    mounts: tuple[Mount, ...],
    settings: PodSettings,
) -> ContainerConfig:
    """Return the configuration of one attempt of a container.

    Raises:
        ContainerConfigError: the container must not run as root and would.
    """
    return ContainerConfig(
        name=container.name,
        attempt=start.attempt,
        image=image.id,
        command=tuple(expand(a, env) for a in container.command),
        args=tuple(expand(a, env) for a in container.args),
        working_dir=container.working_dir,
        env=tuple(env.items()),
        mounts=mounts,
        labels={**labels_of(pod_ref(pod)), CONTAINER_NAME: container.name},
        annotations={
            RESTART_COUNT: str(start.attempt),
            BACKOFF_ANNOTATION: f"{start.backoff_s:g}",
            GRACE_ANNOTATION: str(pod.spec.termination_grace_period_seconds),
            MESSAGE_PATH: container.termination_message_path,
            MESSAGE_POLICY: container.termination_message_policy,
            RESOURCES_ANNOTATION: written(container),
            **({INIT_ANNOTATION: "true"} if start.init and not container.sidecar else {}),
        },
        log_path=f"{container.name}/{start.attempt}.log",
        stdin=container.stdin,
        stdin_once=container.stdin_once,
        tty=container.tty,
        resources=container_resources(pod, container, settings.node_memory_bytes),
        security=security(pod, container, image, settings.seccomp_default),
    )


def security(pod: Pod, container: Container, image: Image, seccomp_default: str) -> Security:
    """Return the container's privileges; its own settings go before the pod's.

    Raises:
        ContainerConfigError: runAsNonRoot, and the user is root or cannot be told.
    """
    whole, own = pod.spec.security_context, container.security_context
    user = own.run_as_user if own.run_as_user is not None else whole.run_as_user
    group = own.run_as_group if own.run_as_group is not None else whole.run_as_group
    non_root = own.run_as_non_root if own.run_as_non_root is not None else whole.run_as_non_root
    if non_root:
        _refuse_root(container, user, image)
    groups = (*whole.supplemental_groups, *(() if whole.fs_group is None else (whole.fs_group,)))
    capabilities = own.capabilities
    return Security(
        privileged=own.privileged,
        run_as_user=user,
        run_as_group=group,
        supplemental_groups=groups,
        readonly_rootfs=own.read_only_root_filesystem,
        no_new_privs=own.allow_privilege_escalation is False and not own.privileged,
        add_capabilities=tuple(capabilities.add) if capabilities else (),
        drop_capabilities=tuple(capabilities.drop) if capabilities else (),
        seccomp=(
            "Unconfined"
            if own.privileged
            else _seccomp(whole.seccomp_profile, own.seccomp_profile, seccomp_default)
        ),
    )


def _refuse_root(container: Container, user: int | None, image: Image) -> None:
    if user is not None:
        if user == 0:
            raise ContainerConfigError(
                "container's runAsUser breaks non-root policy "
                f'(pod: "", container: {container.name})'
            )
        return
    if image.username and image.uid is None:
        raise ContainerConfigError(
            f"container has runAsNonRoot and image has non-numeric user ({image.username}), "
            f"cannot verify user is non-root (container: {container.name})"
        )
    if not image.uid:
        raise ContainerConfigError(
            f"container has runAsNonRoot and image will run as root (container: {container.name})"
        )


def _seccomp(whole: SeccompProfile | None, own: SeccompProfile | None, default: str) -> str:
    profile = own or whole
    if profile is None or not profile.type:
        return default
    return profile.localhost_profile if profile.type == "Localhost" else profile.type
