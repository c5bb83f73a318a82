"""Pods, as a first tutorial has them: every kubectl, from run to delete, and all it prints between."""

import json
import subprocess

import pytest
from hollow_cluster import until
from kubectl_session import Session, both_ends, every_build

pytestmark = pytest.mark.integration

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: two, labels: {app: two}}
spec:
  containers:
    - {name: a, image: "nginx:1", env: [{name: MODE, value: fast}], ports: [{containerPort: 80}]}
    - {name: b, image: busybox, resources: {requests: {cpu: 100m}, limits: {memory: 64Mi}}}
"""


@every_build
def test_run_get_describe_delete(kubectl: Session) -> None:
    kubectl.play(
        """
        $ run web --image=nginx:1 --port=80 --labels=app=web,tier=front
        pod/web created
        $ run web --image=nginx:1                       # exit 1
        ! Error from server (AlreadyExists): pods "web" already exists
        $ get pods                                      # until
        NAME   READY   STATUS    RESTARTS   AGE
        web    1/1     Running   0          <age>
        $ get pods -o wide
        NAME  READY  STATUS   RESTARTS  AGE  IP       NODE  NOMINATED NODE  READINESS GATES
        web   1/1    Running  0         <age>   *.*.*.*  *-*   <none>          <none>
        $ get pod/web -o name
        pod/web
        $ get pods -o jsonpath={.items[*].spec.containers[0].image}
        nginx:1
        $ get pods -o custom-columns=NAME:.metadata.name,NODE:.spec.nodeName,PHASE:.status.phase
        NAME  NODE  PHASE
        web   *-*   Running
        $ get pods --no-headers
        web 1/1 Running 0 *
        ~ NAME *
        $ get pods --show-labels -L tier
        NAME  READY  STATUS   RESTARTS  AGE  TIER   LABELS
        web   1/1    Running  0         <age>   front  app=web,tier=front
        $ get pods -l app=web,tier!=back -o name
        pod/web
        $ get pods -l app=other
        ! No resources found in {namespace} namespace.
        $ get pods --field-selector=status.phase=Running,metadata.name=web -o name
        pod/web
        $ get pods --field-selector=spec.colour=red     # exit 1
        ! Error from server (BadRequest): *field label not supported: spec.colour
        $ get pods web -o yaml
        apiVersion: v1
        kind: Pod
        metadata:
        creationTimestamp: "20*Z"
        name: web
        namespace: {namespace}
        resourceVersion: "*"
        uid: *-*-*-*-*
        spec:
        - image: nginx:1
        imagePullPolicy: IfNotPresent
        dnsPolicy: ClusterFirst
        restartPolicy: Always
        status:
        phase: Running
        qosClass: BestEffort
        $ get pod nope                                  # exit 1
        ! Error from server (NotFound): pods "nope" not found
        $ describe pod web                              # until
        Name: web
        Namespace: {namespace}
        Node: *-*/127.0.0.1
        Labels: app=web
        tier=front
        Status: Running
        Containers:
        web:
        Container ID: hollow://*
        Image: nginx:1
        Port: 80/TCP
        State: Running
        Ready: True
        Restart Count: 0
        Conditions:
        Ready True
        QoS Class: BestEffort
        Events:
        Normal Scheduled * default-scheduler Successfully assigned {namespace}/web to *
        $ delete pod web
        pod "web" deleted*
        $ get pods
        ! No resources found in {namespace} namespace.
        """
    )


@every_build
def test_pods_from_a_file(kubectl: Session) -> None:
    kubectl.play(
        """
        $ create -f -                                   # < pod
        pod/two created
        $ create -f -                                   # < pod, exit 1
        ! Error from server (AlreadyExists): error when creating "STDIN": pods "two" already exists
        $ get pod two                                   # until
        two 2/2 Running 0 *
        $ get -f - -o name                              # < pod
        pod/two
        $ label pod two colour=red
        pod/two labeled
        $ label pod two colour=blue                     # exit 1
        ! error: 'colour' already has a value (red), and --overwrite is false
        $ label pod two colour=blue --overwrite
        pod/two labeled
        $ label pod two colour-
        pod/two *
        $ label pod two a=-b                            # exit 1
        ! error: invalid label value: "a=-b": *
        $ annotate pod two note=first
        pod/two annotate*
        $ annotate pod two note-
        pod/two annotate*
        $ patch pod two --type=merge -p {patch}
        pod/two patched
        $ set image pod/two a=nginx:2
        pod/two image updated
        $ get pod two -o jsonpath={.metadata.labels}{.spec.containers[0].image}
        {"app":"two","via":"merge"}nginx:2
        $ describe pod two
        Limits:
        memory: 64Mi
        Requests:
        cpu: 100m
        memory: 64Mi
        QoS Class: Burstable
        $ replace --force -f -                          # < pod
        pod "two" deleted*
        pod/two replaced
        $ get pod two -o jsonpath={.spec.containers[0].image}
        nginx:1
        $ delete -f -                                   # < pod
        pod "two" deleted*
        """,
        {"pod": POD},
        patch="""'{"metadata":{"labels":{"via":"merge"}}}'""",
    )


@every_build
def test_logs_and_streams_of_pods_without_processes(kubectl: Session) -> None:
    # Of several containers kubectl shows the logs in the order of a Go map: in any.
    kubectl.play(
        """
        $ create -f -                                   # < pod
        pod/two created
        $ logs two -c a                                 # until
        hollow container a of pod {namespace}/two
        $ logs two --all-containers                     # until
        hollow container a of pod {namespace}/two
        $ logs two --all-containers                     # until
        hollow container b of pod {namespace}/two
        $ logs -l app=two -c b --prefix
        *pod/two/b] hollow container b of pod {namespace}/two
        $ logs two -c a --previous                      # exit 1
        ! *previous terminated container "a" in pod "two" not found
        $ logs two -c nope                              # exit 1
        ! *container nope is not valid for pod two
        $ logs nope                                     # exit 1
        ! *pods "nope" not found*
        $ exec two -c a -- date                         # exit 1
        ! *hollow pods have no processes*
        $ attach two -c a                               # exit 1
        ! *hollow pods have no processes*
        $ exec nope -- date                             # exit 1
        ! Error from server (NotFound): pods "nope" not found
        $ run job --image=busybox --restart=Never --annotations=wherry.io/hollow-exit-code=3 # 1.27+
        pod/job created
        $ get pod job                                   # 1.27+, until
        job 0/1 Error 0 *
        $ get pod two -o jsonpath={.status.phase}       # until
        Running
        """,
        {"pod": POD},
    )
    with kubectl.running("logs", "-f", "two", "-c", "a") as following:
        assert following.stdout is not None
        assert "hollow container a" in following.stdout.readline()
        kubectl("delete", "pod", "two")
        assert following.wait(180) == 0, "a log that is followed ends with its container"


@every_build
def test_a_forwarded_port_ends_with_a_reason(kubectl: Session) -> None:
    kubectl("run", "web", "--image=nginx:1")
    kubectl.play("$ wait --for=condition=Ready pod/web --timeout=90s  # until")
    with kubectl.running("port-forward", "pod/web", ":80") as forwarding:
        text = forwarding.communicate(timeout=180)[0]
    assert forwarding.returncode == 1
    assert "hollow pods have no processes" in text


@every_build
def test_watching(kubectl: Session) -> None:
    nobody = json.dumps({"spec": {"schedulerName": "nobody"}})
    kubectl("run", "idle", "--image=nginx:1", f"--overrides={nobody}")
    with kubectl.running("get", "pods", "-w") as watching:
        assert watching.stdout is not None
        header = watching.stdout.readline().split()
        assert header == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
        # It has listed: what comes from now on is watched.
        assert watching.stdout.readline().split()[:3] == ["idle", "0/1", "Pending"]
        kubectl("run", "web", "--image=nginx:1")
        seen = _read_until(watching, "Running")
        assert seen[0][:3] == ["web", "0/1", "Pending"]
        kubectl("delete", "pod", "web")
        # Until the end it is shown with the columns of the first line.
        until(lambda: "Terminating" in watching.stdout.readline(), "the end of the pod")  # type: ignore[union-attr]
    with kubectl.running("get", "pods", "-w", "--output-watch-events", "-o", "name") as watching:
        kubectl("run", "again", "--image=nginx:1")
        assert watching.stdout is not None
        until(lambda: "pod/again" in watching.stdout.readline(), "the new pod")  # type: ignore[union-attr]


def _read_until(process: "subprocess.Popen[str]", word: str) -> list[list[str]]:
    assert process.stdout is not None
    seen: list[list[str]] = []
    while not seen or word not in seen[-1]:
        line = process.stdout.readline()
        assert line, f"it ended after {seen}"
        seen.append(line.split())
    return seen


@every_build
def test_waiting(kubectl: Session) -> None:
    kubectl.play(
        """
        $ run web --image=nginx:1
        pod/web created
        $ wait --for=condition=Ready pod/web --timeout=90s                  # until
        pod/web condition met
        $ wait --for=condition=Ready=False pod/web --timeout=1s             # exit 1, until
        ! error: timed out waiting for the condition on pods/web
        $ wait --for=jsonpath={.status.phase}=Running pod/web --timeout=90s # 1.27+
        pod/web condition met
        $ wait --for=create pod/web --timeout=90s                           # 1.31+
        pod/web condition met
        $ wait --for=condition=Ready pod --all --timeout=90s
        pod/web condition met
        $ wait --for=condition=Ready pod/none --timeout=2s                  # exit 1, until
        ! Error from server (NotFound): pods "none" not found
        $ delete pod web --wait=false
        pod "web" deleted*
        $ wait --for=delete pod/web --timeout=90s                           # 1.27+
        """
    )


@every_build
def test_the_ways_to_delete(kubectl: Session) -> None:
    for name in ("a", "b", "c", "d", "e"):
        kubectl("run", name, "--image=nginx:1", f"--labels=name={name}")
    kubectl.play(
        """
        $ delete pod a --dry-run=server
        pod "a" deleted* (server dry run)
        $ get pods -o name
        pod/a
        pod/b
        $ delete pod a --now
        pod "a" deleted*
        $ delete pod b --force --grace-period=0
        ! *mmediate deletion does not wait for confirmation *
        pod "b" force deleted*
        $ delete pods -l name=c
        pod "c" deleted*
        $ delete pods --field-selector=metadata.name=d
        pod "d" deleted*
        $ delete pod nope --ignore-not-found
        $ delete pod nope                               # exit 1
        ! Error from server (NotFound): pods "nope" not found
        $ delete pods                                   # exit 1
        ! error: resource(s) were provided, but no name*
        $ delete pods --all
        pod "e" deleted*
        $ get pods
        ! No resources found in {namespace} namespace.
        $ delete pods --all
        No resources found
        """
    )


@both_ends
def test_sorted_and_in_chunks(kubectl: Session) -> None:
    for name, weight in (("a", "3"), ("b", "1"), ("c", "2")):
        kubectl("run", name, "--image=nginx:1", f"--labels=weight={weight}")
    kubectl.play(
        """
        $ get pods --sort-by=.metadata.labels.weight -o name
        pod/b
        pod/c
        pod/a
        $ get pods --sort-by=.metadata.labels.weight
        NAME READY STATUS RESTARTS AGE
        b *
        c *
        a *
        $ get pods --chunk-size=1 -o name
        pod/a
        pod/b
        pod/c
        $ get pods --chunk-size=2
        NAME READY STATUS RESTARTS AGE
        a *
        b *
        c *
        """
    )
    items = kubectl.json("pods", "--chunk-size=1")["items"]
    assert [item["metadata"]["name"] for item in items] == ["a", "b", "c"]


@both_ends
def test_what_is_written_by_hand_is_checked(kubectl: Session) -> None:
    """Errors of the client's own validation (1.20) and of the server's (since 1.27)."""
    manifest = json.loads(
        json.dumps({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "x"}})
    )
    misspelt = {**manifest, "spec": {"containers": [{"name": "a", "image": "i", "imagee": "j"}]}}
    kubectl.play(
        """
        $ create -f -                                   # < misspelt, exit 1, 1.27+
        ! Error from server (BadRequest): error when creating "STDIN": Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.containers[0].imagee"
        $ create -f -                                   # < misspelt, exit 1, 1.20
        ! *unknown field "imagee" in io.k8s.api.core.v1.Container*
        $ create -f - --validate=warn                   # < misspelt, 1.27+
        pod/x created
        ! Warning: unknown field "spec.containers[0].imagee"
        $ create -f - --validate=false                  # < empty, exit 1
        ! The Pod "y" is invalid: spec.containers: Required value*
        $ create -f -                                   # < empty, exit 1, 1.27+
        ! The Pod "y" is invalid: spec.containers: Required value*
        """,
        {
            "misspelt": json.dumps(misspelt),
            "empty": json.dumps(
                {**manifest, "metadata": {"name": "y"}, "spec": {"containers": []}}
            ),
        },
    )
