"""Environment, resources, projections, configurations, admission, probes: values in, values out."""

import base64
from typing import Any

import msgspec
import pytest
from agent_objects import pod

from wherry.agent.admission import admit
from wherry.agent.configure import (
    PodSettings,
    container_config,
    dns_settings,
    hosts_file,
    sandbox_config,
    security,
)
from wherry.agent.environment import (
    ContainerConfigError,
    NodeFacts,
    References,
    environment,
    expand,
    field_value,
    resource_value,
    service_variables,
)
from wherry.agent.garbage import images_to_remove
from wherry.agent.images import pull_policy
from wherry.agent.machine import parse_resolv_conf
from wherry.agent.node_object import NodeIdentity
from wherry.agent.plan import StartContainer
from wherry.agent.probes import ProbeCounter
from wherry.agent.projection import (
    MountError,
    Sources,
    VolumeFile,
    render_volume,
    wanted_objects,
    wanted_tokens,
)
from wherry.agent.resources import (
    container_resources,
    cpu_quota_us,
    cpu_shares,
    pod_cgroup,
    qos_class,
)
from wherry.agent.runtime import Image
from wherry.agent.runtime_config import DnsSettings
from wherry.agent.views import ConfigMap, Container, Secret
from wherry.api.objects import Node, Service

NODE = NodeFacts("n", "192.0.2.1", 4000, 8 << 30)
NONE = References({}, {})
SETTINGS = PodSettings("/logs", host_dns=DnsSettings(("192.0.2.53",), ("example.org",)))


def of_spec(**container: Any) -> tuple[Any, Container]:
    made = pod({"containers": [{"name": "c", "image": "i:1", **container}]})
    return made, made.spec.containers[0]


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)", "x1y2"),
        ("$(NONE)", "$(NONE)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A} $( A)", "$A ${A} $( A)"),
        ("100$", "100$"),
    ],
)
def test_expansion(text: str, result: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == result


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "x", "key": "k"}}, 'configmap "x" not found'),
        ({"secretKeyRef": {"name": "x", "key": "k"}}, 'secret "x" not found'),
        ({"configMapKeyRef": {"name": "m", "key": "k"}}, "couldn't find key k in ConfigMap ns/m"),
        ({"secretKeyRef": {"name": "s", "key": "k"}}, "couldn't find key k in Secret ns/s"),
        ({"fieldRef": {"fieldPath": "spec.nonsense"}}, "unsupported fieldPath: spec.nonsense"),
    ],
)
def test_what_is_missing_is_named(source: dict[str, Any], message: str) -> None:
    made, container = of_spec(env=[{"name": "X", "valueFrom": source}])
    references = References({"m": ConfigMap()}, {"s": Secret()})
    with pytest.raises(ContainerConfigError) as caught:
        environment(made, container, references, NODE, "")
    assert str(caught.value) == message


def test_env_from_and_order() -> None:
    made, container = of_spec(
        envFrom=[
            {"configMapRef": {"name": "m"}},
            {"secretRef": {"name": "s"}, "prefix": "S_"},
            {"configMapRef": {"name": "absent", "optional": True}},
        ],
        env=[{"name": "B", "value": "$(A)$(S_P)"}],
    )
    references = References(
        {"m": ConfigMap(data={"A": "a", "B": "b", "not a name": "x"})},
        {"s": Secret(data={"P": base64.b64encode(b"p").decode()})},
    )
    assert environment(made, container, references, NODE, "") == {"A": "a", "B": "ap", "S_P": "p"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "p"),
        ("metadata.labels['a.b/c']", "1"),
        ("metadata.annotations['none']", ""),
        ("metadata.labels", 'a.b/c="1"\nq="say \\"hi\\""'),
        ("spec.nodeName", "n"),
        ("spec.serviceAccountName", "default"),
        ("status.hostIP", "192.0.2.1"),
        ("status.podIP", "10.0.0.2"),
    ],
)
def test_fields(path: str, value: str) -> None:
    made = pod(metadata={"labels": {"a.b/c": "1", "q": 'say "hi"'}})
    assert field_value(made, path, NODE, "10.0.0.2") == value


@pytest.mark.parametrize(
    ("resource", "divisor", "value"),
    [
        ("limits.cpu", "0", "2"),
        ("limits.cpu", "1m", "1500"),
        ("limits.memory", "1Mi", "64"),
        ("requests.cpu", "1m", "250"),
        ("requests.memory", "1", "0"),
    ],
)
def test_resource_fields(resource: str, divisor: str, value: str) -> None:
    _, container = of_spec(
        resources={"limits": {"cpu": "1.5", "memory": "64Mi"}, "requests": {"cpu": "250m"}}
    )
    assert resource_value(container, resource, divisor, NODE) == value


def test_a_limit_that_is_not_set_is_the_nodes() -> None:
    _, container = of_spec()
    assert resource_value(container, "limits.memory", "1Gi", NODE) == "8"
    assert resource_value(container, "limits.cpu", "1", NODE) == "4"


def test_service_variables() -> None:
    def service(namespace: str, name: str, ip: str) -> Service:
        spec = {"clusterIP": ip, "ports": [{"port": 443, "name": "https"}]}
        meta = {"namespace": namespace, "name": name}
        return msgspec.convert({"metadata": meta, "spec": spec}, Service)

    services = [
        service("default", "kubernetes", "10.96.0.1"),
        service("ns", "my-db", "10.96.0.2"),
        service("ns", "headless", "None"),
        service("other", "x", "10.96.0.3"),
    ]
    with_links = service_variables(services, "ns", links=True)
    assert with_links["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"
    assert with_links["MY_DB_SERVICE_PORT_HTTPS"] == "443"
    assert with_links["MY_DB_PORT_443_TCP_ADDR"] == "10.96.0.2"
    assert with_links["MY_DB_PORT"] == "tcp://10.96.0.2:443"
    assert not any(name.startswith(("HEADLESS", "X_")) for name in with_links)
    without = service_variables(services, "ns", links=False)
    assert {n.split("_")[0] for n in without} == {"KUBERNETES"}


@pytest.mark.parametrize(
    ("resources", "qos", "oom"),
    [
        ({}, "BestEffort", 1000),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed", -997),
        ({"requests": {"memory": "2Gi"}}, "Burstable", 750),
        ({"limits": {"memory": "1Gi"}}, "Burstable", 875),
        (
            {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}},
            "Burstable",
            875,
        ),
        ({"requests": {"memory": "1Ki"}}, "Burstable", 999),
    ],
)
def test_quality_of_service(resources: dict[str, Any], qos: str, oom: int) -> None:
    made, container = of_spec(resources=resources)
    assert qos_class(made) == qos
    assert container_resources(made, container, 8 << 30).oom_score_adj == oom


@pytest.mark.parametrize(
    ("millicores", "shares", "quota"),
    [(0, 2, 0), (1, 2, 1000), (250, 256, 25_000), (4000, 4096, 400_000)],
)
def test_cpu(millicores: int, shares: int, quota: int) -> None:
    assert (cpu_shares(millicores), cpu_quota_us(millicores)) == (shares, quota)


def test_the_pods_cgroup() -> None:
    limits = {"limits": {"cpu": "500m", "memory": "64Mi"}}
    made = pod(
        {
            "containers": [{"name": n, "image": "i", "resources": limits} for n in "ab"],
            "initContainers": [
                {"name": "i", "image": "i", "resources": {"limits": {"cpu": "2", "memory": "1Mi"}}}
            ],
        }
    )
    cgroup = pod_cgroup(made, "/lab")
    assert cgroup.path == "/lab/kubepods/podu"
    assert cgroup.cpu_quota_us == 200_000  # the init container's is larger than their sum
    assert cgroup.memory_limit_bytes == 128 << 20
    assert pod_cgroup(pod(), "").path == "/kubepods/besteffort/podu"
    assert pod_cgroup(pod(), "").memory_limit_bytes == 0


def volume(**source: Any) -> tuple[Any, Any]:
    made = pod({"volumes": [{"name": "v", **source}]})
    return made, made.spec.volumes[0]


SOURCES = Sources(
    References(
        {"m": ConfigMap(data={"a": "1"}, binary_data={"b": base64.b64encode(b"\0").decode()})},
        {"s": Secret(data={"k": base64.b64encode(b"K").decode()})},
    ),
    NODE,
    "10.0.0.2",
)


@pytest.mark.parametrize(
    ("source", "files"),
    [
        (
            {"configMap": {"name": "m"}},
            [VolumeFile("a", b"1", 0o644), VolumeFile("b", b"\0", 0o644)],
        ),
        (
            {"configMap": {"name": "m", "items": [{"key": "a", "path": "x/y", "mode": 256}]}},
            [VolumeFile("x/y", b"1", 0o400)],
        ),
        ({"configMap": {"name": "none", "optional": True}}, []),
        ({"secret": {"secretName": "s", "defaultMode": 292}}, [VolumeFile("k", b"K", 0o444)]),
        (
            {"downwardAPI": {"items": [{"path": "ip", "fieldRef": {"fieldPath": "status.podIP"}}]}},
            [VolumeFile("ip", b"10.0.0.2", 0o644)],
        ),
        (
            {"projected": {"sources": [{"secret": {"name": "s"}}, {"configMap": {"name": "m"}}]}},
            [
                VolumeFile("k", b"K", 0o644),
                VolumeFile("a", b"1", 0o644),
                VolumeFile("b", b"\0", 0o644),
            ],
        ),
        ({"emptyDir": {}}, None),
        ({"hostPath": {"path": "/x"}}, None),
    ],
)
def test_files_of_volumes(source: dict[str, Any], files: list[VolumeFile] | None) -> None:
    made, of = volume(**source)
    assert render_volume(of, made, SOURCES) == files


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMap": {"name": "x"}}, 'configmap "x" not found'),
        ({"secret": {"secretName": "x"}}, 'secret "x" not found'),
        (
            {"configMap": {"name": "m", "items": [{"key": "zz", "path": "p"}]}},
            "references non-existent config key: zz",
        ),
        (
            {"configMap": {"name": "m", "items": [{"key": "a", "path": "../p"}]}},
            "invalid path: ../p",
        ),
        ({"configMap": {"name": "m", "items": [{"key": "a", "path": "/p"}]}}, "invalid path: /p"),
        ({"configMap": {"name": "m", "items": [{"key": "a", "path": "..d"}]}}, "invalid path: ..d"),
    ],
)
def test_volumes_that_cannot_be(source: dict[str, Any], message: str) -> None:
    made, of = volume(**source)
    with pytest.raises(MountError, match=f"^{message}$".replace(".", r"\.")):
        render_volume(of, made, SOURCES)


def test_all_that_a_pod_refers_to() -> None:
    made = pod(
        {
            "imagePullSecrets": [{"name": "pull"}],
            "containers": [
                {
                    "name": "c",
                    "image": "i",
                    "envFrom": [{"configMapRef": {"name": "m1"}}, {"secretRef": {"name": "s1"}}],
                    "env": [
                        {"name": "x", "valueFrom": {"configMapKeyRef": {"name": "m2", "key": "k"}}},
                        {"name": "y", "valueFrom": {"secretKeyRef": {"name": "s2", "key": "k"}}},
                    ],
                }
            ],
            "volumes": [
                {"name": "a", "configMap": {"name": "m3"}},
                {"name": "b", "secret": {"secretName": "s3"}},
                {
                    "name": "c",
                    "projected": {
                        "sources": [
                            {"configMap": {"name": "m4"}},
                            {"secret": {"name": "s4"}},
                            {"serviceAccountToken": {"audience": "x"}},
                        ]
                    },
                },
            ],
        }
    )
    wanted = wanted_objects(made)
    assert wanted.config_maps == {"m1", "m2", "m3", "m4"}
    assert wanted.secrets == {"pull", "s1", "s2", "s3", "s4"}
    assert [t.audience for t in wanted_tokens(made)] == ["x"]


CLUSTER = ("ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.org")


@pytest.mark.parametrize(
    ("spec", "settings"),
    [
        ({}, DnsSettings(("10.96.0.10",), CLUSTER, ("ndots:5",))),
        ({"dnsPolicy": "Default"}, SETTINGS.host_dns),
        ({"hostNetwork": True}, SETTINGS.host_dns),
        (
            {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"},
            DnsSettings(("10.96.0.10",), CLUSTER, ("ndots:5",)),
        ),
        (
            {
                "dnsPolicy": "None",
                "dnsConfig": {
                    "nameservers": ["1.1.1.1"],
                    "searches": ["a"],
                    "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
                },
            },
            DnsSettings(("1.1.1.1",), ("a",), ("ndots:2", "edns0")),
        ),
        (
            {"dnsConfig": {"options": [{"name": "ndots", "value": "2"}]}},
            DnsSettings(("10.96.0.10",), CLUSTER, ("ndots:2",)),
        ),
    ],
)
def test_dns(spec: dict[str, Any], settings: DnsSettings) -> None:
    assert dns_settings(pod(spec), SETTINGS) == settings


def test_sandboxes() -> None:
    made = pod(
        {
            "hostname": "web",
            "containers": [
                {
                    "name": "c",
                    "image": "i",
                    "ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}],
                }
            ],
        },
        metadata={"labels": {"app": "x"}},
    )
    config = sandbox_config(made, 3, SETTINGS)
    assert (config.attempt, config.hostname) == (3, "web")
    assert config.log_directory == "/logs/ns_p_u"
    assert [(p.container_port, p.host_port) for p in config.ports] == [(80, 8080)]
    assert config.labels["io.kubernetes.pod.uid"] == "u"
    assert config.labels["app"] == "x"
    on_host = sandbox_config(pod({"hostNetwork": True}), 0, SETTINGS)
    assert on_host.hostname == ""  # the runtime refuses one without a UTS namespace of its own
    assert on_host.namespaces.host_network
    assert "10.0.0.2\tp.sub.ns.svc.cluster.local\tp\n" in hosts_file(
        pod({"subdomain": "sub"}), "10.0.0.2", SETTINGS
    )


IMAGE = Image("sha256:1", ("i:1",))


def test_containers() -> None:
    made, container = of_spec(command=["run", "$(A)"], args=["$$(A)"], tty=True)
    start = StartContainer("c", 2, 20.0)
    config = container_config(made, container, start, IMAGE, {"A": "x"}, (), SETTINGS)
    assert (config.command, config.args) == (("run", "x"), ("$(A)",))
    assert config.log_path == "c/2.log"
    assert config.annotations["wherry.io/restart-backoff-seconds"] == "20"
    assert config.annotations["io.kubernetes.pod.terminationGracePeriod"] == "30"
    assert config.security.seccomp == "RuntimeDefault"


def test_security() -> None:
    whole = {"runAsUser": 5, "fsGroup": 7, "supplementalGroups": [8], "runAsGroup": 6}
    own = {
        "runAsUser": 9,
        "allowPrivilegeEscalation": False,
        "seccompProfile": {"type": "Unconfined"},
        "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
    }
    made = pod(
        {
            "securityContext": whole,
            "containers": [{"name": "c", "image": "i", "securityContext": own}],
        }
    )
    got = security(made, made.spec.containers[0], IMAGE, "RuntimeDefault")
    assert (got.run_as_user, got.run_as_group, got.supplemental_groups) == (9, 6, (8, 7))
    assert (got.no_new_privs, got.seccomp) == (True, "Unconfined")
    assert (got.add_capabilities, got.drop_capabilities) == (("NET_ADMIN",), ("ALL",))
    made, container = of_spec(securityContext={"privileged": True})
    got = security(made, container, IMAGE, "RuntimeDefault")
    assert (got.privileged, got.seccomp) == (True, "Unconfined")


@pytest.mark.parametrize(
    ("context", "image", "message"),
    [
        ({"runAsUser": 0}, IMAGE, "breaks non-root policy"),
        ({}, Image("x", username="www"), "non-numeric user (www)"),
        ({}, IMAGE, "image will run as root"),
        ({}, Image("x", uid=1000), ""),
        ({"runAsUser": 1}, IMAGE, ""),
    ],
)
def test_run_as_non_root(context: dict[str, Any], image: Image, message: str) -> None:
    made, container = of_spec(securityContext={"runAsNonRoot": True, **context})
    if not message:
        assert security(made, container, image, "RuntimeDefault").seccomp == "RuntimeDefault"
        return
    with pytest.raises(ContainerConfigError) as caught:
        security(made, container, image, "RuntimeDefault")
    assert message in str(caught.value)


def test_admission() -> None:
    identity = NodeIdentity("n", "192.0.2.1", max_pods=1)
    node = msgspec.convert({"metadata": {"name": "n", "labels": {"disk": "ssd"}}}, Node)
    port = {"containers": [{"name": "c", "image": "i", "ports": [{"hostPort": 80}]}]}
    assert admit(pod(), [], identity, node) is None
    full = admit(pod(), [pod()], identity, node)
    assert full is not None
    assert full.reason == "OutOfpods"
    assert admit(pod(), [pod(status={"phase": "Succeeded"})], identity, node) is None
    roomy = NodeIdentity("n", "192.0.2.1")
    taken = admit(pod(port), [pod(port)], roomy, node)
    assert taken is not None
    assert taken.reason == "NodePorts"
    elsewhere = admit(pod({"nodeSelector": {"disk": "hdd"}}), [], roomy, node)
    assert elsewhere is not None
    assert elsewhere.reason == "NodeAffinity"
    assert admit(pod({"nodeSelector": {"disk": "ssd"}}), [], roomy, node) is None


@pytest.mark.parametrize(
    ("answers", "verdicts"),
    [
        ("++", [None, True]),
        ("---", [None, None, False]),
        ("--+--", [None, None, None, None, None]),
        ("---++", [None, None, False, None, True]),
        ("----", [None, None, False, False]),
    ],
)
def test_probe_thresholds(answers: str, verdicts: list[bool | None]) -> None:
    counter = ProbeCounter(success_threshold=2, failure_threshold=3)
    got = []
    for answer in answers:
        counter, verdict = counter.step(answer == "+")
        got.append(verdict)
    assert got == verdicts


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1", "IfNotPresent"),
        ("host:5000/nginx", "Always"),
        ("nginx@sha256:abc", "IfNotPresent"),
    ],
)
def test_default_pull_policy(image: str, policy: str) -> None:
    assert pull_policy(Container(image=image)) == policy


@pytest.mark.parametrize(
    ("share", "gone"),
    [(0.84, []), (0.86, ["old"]), (0.90, ["old", "mid"]), (1.0, ["old", "mid", "new"])],
)
def test_images_that_are_in_the_way(share: float, gone: list[str]) -> None:
    images = [
        Image(n, size_bytes=60, pinned=n == "pause") for n in ("new", "old", "used", "mid", "pause")
    ]
    used_at = {"old": 1.0, "mid": 2.0, "new": 3.0}
    chosen = images_to_remove(images, {"used"}, used_at, disk_bytes=1000, used_share=share)
    assert [i.id for i in chosen] == gone


def test_resolv_conf() -> None:
    text = "# x\nsearch a b\nnameserver 1.1.1.1\nnameserver 8.8.8.8\noptions edns0 trust-ad\nsearch c\n"
    wanted = DnsSettings(("1.1.1.1", "8.8.8.8"), ("c",), ("edns0", "trust-ad"))
    assert parse_resolv_conf(text) == wanted
