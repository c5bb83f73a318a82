"""Nodes, namespaces, configuration, events, and what the server tells about itself."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hollow_cluster import HollowCluster, until
from kubectl_session import Session, both_ends, every_build
from lab_cluster import get

pytestmark = pytest.mark.integration


@pytest.fixture
def node(hollow: HollowCluster) -> Iterator[str]:
    """The name of a node, which is usable again in the end."""
    _, nodes = hollow.ask("/api/v1/nodes")
    name: str = nodes["items"][-1]["metadata"]["name"]
    yield name
    clean = {"spec": {"unschedulable": None, "taints": None}}
    path, merge = f"/api/v1/nodes/{name}", {"Content-Type": "application/merge-patch+json"}
    status, answer = hollow.ask(path, method="PATCH", body=clean, headers=merge)
    assert status == 200, answer


@every_build
def test_what_the_server_says_about_itself(kubectl: Session) -> None:
    kubectl.play(
        """
        $ version                                       # 1.28+
        Client Version: v{build}.*
        Server Version: v1.33.*wherry
        $ version                                       # 1.20-1.27
        Server Version: *GitVersion:"v1.33.*wherry"*
        $ cluster-info
        *Kubernetes control plane* is running at *{server}*
        $ api-versions
        apps/v1
        authorization.k8s.io/v1
        coordination.k8s.io/v1
        discovery.k8s.io/v1
        v1
        $ api-resources
        NAME SHORTNAMES * NAMESPACED KIND
        configmaps cm v1 true ConfigMap
        namespaces ns v1 false Namespace
        pods po v1 true Pod
        deployments deploy apps/v1 true Deployment
        $ api-resources --namespaced=false -o name
        namespaces
        nodes
        ~ pods
        $ api-resources --api-group=apps --verbs=watch -o name
        deployments.apps
        replicasets.apps
        $ explain deployment.spec.replicas
        FIELD: *replicas* <integer>
        $ explain pod.spec.containers
        *: *containers <[]*>
        name <string>*
        $ explain service --recursive
        clusterIP *<string>*
        $ explain pod.spec.nonsense                     # exit 1
        ! error: field "nonsense" does not exist
        $ explain nonsense                              # exit 1
        ! *the server doesn't have a resource type "nonsense"
        $ get --raw /healthz
        ok
        $ get --raw /readyz?verbose
        *readyz check passed
        $ get --raw /api/v1/namespaces/default
        {"*"kind":"Namespace"*
        $ get --raw /api/v1/nonsense                    # exit 1
        ! Error from server (NotFound): the server could not find the requested resource
        $ auth can-i create pods
        yes
        $ auth can-i --list
        *.* [] [] [*]
        $ auth can-i create pods --as=system:serviceaccount:default:default     # exit 1
        no*
        $ get pods --as=joe                             # exit 1
        ! Error from server (Forbidden): pods is forbidden: User "joe" cannot list resource "pods" in API group "" in the namespace "{namespace}"
        $ get pods --as=joe --as-group=system:masters
        ! No resources found in {namespace} namespace.
        $ auth whoami                                   # 1.28+
        Username kubernetes-admin
        Groups [system:masters system:authenticated]
        $ config view --minify
        server: {server}
        """,
        build=f"{kubectl.build[0]}.{kubectl.build[1]}",
        server=kubectl.cluster.server,
    )


@every_build
def test_nodes(kubectl: Session, node: str) -> None:
    kubectl.play(
        """
        $ get nodes
        NAME STATUS ROLES AGE VERSION
        {node} Ready <none> * v1.*
        $ get nodes -o wide
        NAME STATUS ROLES AGE VERSION INTERNAL-IP EXTERNAL-IP OS-IMAGE KERNEL-VERSION CONTAINER-RUNTIME
        {node} Ready <none> * v1.* 127.0.0.1 <none> * hollow://*
        $ describe node {node}                          # until
        Name: {node}
        Taints: <none>
        Unschedulable: false
        HolderIdentity: {node}
        MemoryPressure False *
        Ready True * KubeletReady *
        Capacity:
        pods: 110
        Non-terminated Pods: *
        Allocated resources:
        Events:
        $ label node {node} disk=fast
        node/{node} labeled
        $ get nodes -l disk=fast -o name
        node/{node}
        $ label node {node} disk-
        node/{node} *
        $ cordon {node}
        node/{node} cordoned
        $ cordon {node}
        node/{node} already cordoned
        $ get node {node}
        {node} Ready,SchedulingDisabled <none> *
        $ uncordon {node}
        node/{node} uncordoned
        $ taint node {node} team=web:NoSchedule
        node/{node} tainted
        $ taint node {node} team=web:NoSchedule         # exit 1
        ! *already has team taint(s) with same effect(s)*
        $ taint node {node} team=api:NoSchedule --overwrite
        node/{node} modified
        $ describe node {node}                          # until
        Taints: team=api:NoSchedule
        $ taint node {node} team-
        node/{node} untainted
        $ taint node {node} a=b:Nonsense                # exit 1
        ! *invalid taint effect: Nonsense*
        $ get node nope                                 # exit 1
        ! Error from server (NotFound): nodes "nope" not found
        """,
        node=node,
    )


@every_build
def test_draining(kubectl: Session, node: str) -> None:
    """Pods of a Deployment move; a pod that nobody would make again asks for --force."""
    kubectl("create", "deployment", "web", "--image=nginx:1", "--replicas=6")
    kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    affinity = json.dumps({"spec": {"nodeName": node}})
    kubectl("run", "alone", "--image=nginx:1", f"--overrides={affinity}")
    kubectl.play(
        """
        $ drain {node} --ignore-daemonsets --timeout=20s            # exit 1
        node/{node} *
        ! *cannot delete*Pods *{namespace}/alone*
        $ drain {node} --ignore-daemonsets --force --timeout=90s
        node/{node} *
        ! *{namespace}/alone
        $ get node {node}
        {node} Ready,SchedulingDisabled <none> *
        $ rollout status deployment/web --timeout=90s
        deployment "web" successfully rolled out
        $ get pods --field-selector=spec.nodeName={node}            # until
        ! No resources found in {namespace} namespace.
        $ uncordon {node}
        node/{node} uncordoned
        $ get pod alone                                             # exit 1
        ! *pods "alone" not found
        """,
        node=node,
    )


@every_build
def test_configuration(kubectl: Session) -> None:
    kubectl.play(
        """
        $ create configmap settings --from-literal=colour=red --from-literal=size=2
        configmap/settings created
        $ get configmap settings -o jsonpath={.data.colour}
        red
        $ describe configmap settings
        Name: settings
        colour:
        red
        $ create secret generic keys --from-literal=password=letmein
        secret/keys created
        $ get secret keys -o jsonpath={.data.password}
        bGV0bWVpbg==
        $ describe secret keys
        Type: Opaque
        password: 7 bytes
        ~ *letmein*
        $ create secret docker-registry pull --docker-username=u --docker-password=p
        secret/pull created
        $ get secrets pull
        pull kubernetes.io/dockerconfigjson 1 *
        $ create serviceaccount robot
        serviceaccount/robot created
        $ create token robot                            # 1.27+
        ey*.ey*.*
        $ create token robot --duration=30m             # 1.27+
        ey*.ey*.*
        $ create token nobody                           # exit 1, 1.27+
        ! *serviceaccounts "nobody" not found
        $ describe serviceaccount robot
        Name: robot
        $ get configmap kube-root-ca.crt -o jsonpath={.data}    # until
        {"ca.crt":"-----BEGIN CERTIFICATE-----*
        $ delete configmap settings
        configmap "settings" deleted*
        $ delete secrets --all
        secret "keys" deleted*
        secret "pull" deleted*
        """
    )


@both_ends
def test_namespaces(kubectl: Session) -> None:
    kubectl.play(
        """
        $ create namespace {namespace}-more
        namespace/{namespace}-more created
        $ create namespace {namespace}-more             # exit 1
        ! Error from server (AlreadyExists): namespaces "{namespace}-more" already exists
        $ get namespace {namespace}-more
        NAME STATUS AGE
        {namespace}-more Active *
        $ run web --image=nginx:1 -n {namespace}-more
        pod/web created
        $ describe namespace {namespace}-more
        Name: {namespace}-more
        Status: Active
        $ get pods -A
        NAMESPACE NAME READY STATUS RESTARTS AGE
        {namespace}-more web *
        $ delete namespace {namespace}-more
        namespace "{namespace}-more" deleted
        $ get pods -n {namespace}-more
        ! No resources found in {namespace}-more namespace.
        $ run web --image=nginx:1 -n {namespace}-more   # exit 1
        ! Error from server (NotFound): namespaces "{namespace}-more" not found
        $ delete namespace kube-system                  # exit 1
        ! Error from server (Forbidden): namespaces "kube-system" is forbidden: this namespace may not be deleted
        """
    )


@every_build
def test_events(kubectl: Session) -> None:
    kubectl.play(
        """
        $ create deployment web --image=nginx:1
        deployment.apps/web created
        $ get events                                    # until
        LAST SEEN TYPE REASON OBJECT MESSAGE
        * Normal Scheduled pod/web-* Successfully assigned {namespace}/web-* to *
        $ get events --field-selector=reason=ScalingReplicaSet,type=Normal      # until
        * Normal ScalingReplicaSet deployment/web Scaled up replica set web-* from 0 to 1
        ~ * Scheduled *
        $ events                                        # 1.27+
        LAST SEEN TYPE REASON OBJECT MESSAGE
        * Normal ScalingReplicaSet Deployment/web Scaled up replica set web-* from 0 to 1
        $ events --for deployment/web                   # 1.27+
        * Normal ScalingReplicaSet Deployment/web *
        ~ * Scheduled *
        $ events --types=Warning                        # 1.27+
        ! *No events found*
        $ get events -o wide
        LAST SEEN TYPE REASON OBJECT SUBOBJECT SOURCE MESSAGE FIRST SEEN COUNT NAME
        $ get events --sort-by=.metadata.creationTimestamp
        LAST SEEN TYPE REASON OBJECT MESSAGE
        """
    )


@both_ends
def test_every_kind_is_described(kubectl: Session) -> None:
    """`kubectl describe` of each kind that is served reads other objects too; none may fail."""
    kubectl("create", "deployment", "web", "--image=nginx:1")
    kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    kubectl("expose", "deployment", "web", "--port=80")
    kubectl("create", "configmap", "c")
    kubectl("create", "secret", "generic", "s")
    until(lambda: kubectl.json("endpointslices")["items"], "the EndpointSlice")
    # What goes between its list and its description is an error of kubectl's.
    until(lambda: not namespaces_on_their_way_out(kubectl), "the end of other tests' namespaces")
    names = kubectl("api-resources", "--verbs=get,list", "-o", "name").split()
    assert len(names) >= 14
    if kubectl.build < (1, 21):  # it asks for discovery.k8s.io/v1beta1, which is gone since 1.25
        names.remove("endpointslices.discovery.k8s.io")
    for name in names:
        everywhere = () if name in {"pods", "deployments.apps"} else ("--all-namespaces",)
        output = kubectl.attempt("describe", name, *everywhere)
        assert output.code == 0, f"describe {name}: {output}"


def namespaces_on_their_way_out(kubectl: Session) -> list[Any]:
    every = kubectl.json("namespaces")["items"]
    return [one for one in every if one["status"]["phase"] == "Terminating"]


@both_ends
def test_the_proxy(kubectl: Session) -> None:
    """Plain HTTP on the loopback for whatever has no certificate."""
    with kubectl.running("proxy", "--port=0") as proxying:
        assert proxying.stdout is not None
        line = proxying.stdout.readline()
        match = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert match, line
        base = f"http://127.0.0.1:{match[1]}"
        assert "default" in (get(f"{base}/api/v1/namespaces/default") or "")
        assert get(f"{base}/api/v1/namespaces/none") is None
