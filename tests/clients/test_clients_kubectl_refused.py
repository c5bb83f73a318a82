"""What a person reads when the API server refuses: upstream's sentences, as kubectl prints them."""

import pytest
from kubectl_session import Session, both_ends

pytestmark = pytest.mark.integration

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: bad}
spec:
  restartPolicy: Never
  containers:
  - {name: c, image: "nginx:1", ports: [{containerPort: 80}, {containerPort: 70000}]}
"""
FILES = {
    "port": POD,
    "two faults": POD.replace("name: c,", "name: C_1,"),
    "good": POD.replace("70000", "443"),
    "moved": POD.replace("70000", "443").replace("restartPolicy: Never", "nodeName: elsewhere"),
    "cron": """\
apiVersion: batch/v1
kind: CronJob
metadata: {name: often}
spec:
  schedule: "61 * * * *"
  jobTemplate:
    spec:
      template:
        spec: {restartPolicy: Never, containers: [{name: c, image: "i:1"}]}
""",
    "ingress": """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  rules:
  - http:
      paths:
      - {path: x, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
""",
    "binding": """\
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: b}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: one}
""",
    "other role": """\
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: b}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: two}
""",
}


@both_ends
def test_what_is_said_about_a_manifest(kubectl: Session) -> None:
    kubectl.play(
        """
        $ create -f -                                   # < port, exit 1
        ! The Pod "bad" is invalid: spec.containers[0].ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive
        $ create -f -                                   # < two faults, exit 1
        ! The Pod "bad" is invalid:
        ! * spec.containers[0].name: Invalid value: "C_1": a lowercase RFC 1123 label must consist of *
        ! * spec.containers[0].ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive
        $ get pods
        ! No resources found in {namespace} namespace.
        $ create -f -                                   # < good
        pod/bad created
        $ apply -f - --dry-run=server                   # < moved, exit 1
        ! The Pod "bad" is invalid: spec: Forbidden: pod updates may not change fields other than *
        $ delete pod bad --now
        pod "bad" deleted
        """,
        FILES,
    )


@both_ends
def test_what_is_said_about_other_kinds(kubectl: Session) -> None:
    kubectl.play(
        """
        $ create -f -                                   # < ingress, exit 1
        ! The Ingress "web" is invalid: spec.rules[0].http.paths[0].path: Invalid value: "x": must be an absolute path
        $ apply -f -                                    # < binding
        rolebinding.rbac.authorization.k8s.io/b created
        $ apply -f -                                    # < other role, exit 1
        ! The RoleBinding "b" is invalid: roleRef: Invalid value: {"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"two"}: cannot change roleRef
        $ create quota q --hard=things=1                # exit 1
        ! error: failed to create quota: ResourceQuota "q" is invalid: [spec.hard[things]: Invalid value: "things": must be a standard resource type or fully qualified, spec.hard[things]: Invalid value: "things": must be a standard resource for quota]
        """,
        FILES,
    )


@both_ends
def test_what_is_said_about_a_schedule(kubectl: Session) -> None:
    kubectl.play(
        """
        $ apply --validate=false -f -                   # < cron, exit 1
        ! The CronJob "often" is invalid: spec.schedule: Invalid value: "61 * * * *": end of range (61) above maximum (59): 61
        """,
        FILES,
    )
