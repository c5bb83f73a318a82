"""What Wherry does not serve (yet): kubectl says so in a sentence, and nothing is half-done.

A kind that is served one day leaves this file for one that says what it does.
"""

import json

import pytest
from kubectl_session import Session, both_ends

pytestmark = pytest.mark.integration

CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"kind": "Widget", "plural": "widgets"},
        "versions": [],
    },
}
STATEFUL_SET = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "db"},
    "spec": {"serviceName": "db"},
}
WIDGET = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}}
FIRST = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: first}\n"
UNKNOWN = "the server could not find the requested resource"


@both_ends
def test_commands_that_make_what_is_not_served(kubectl: Session) -> None:
    kubectl.play(
        """
        $ create job j --image=busybox                                      # exit 1
        ! *{unknown}*
        $ create cronjob c --image=busybox --schedule='* * * * *'           # exit 1
        ! *
        $ create role r --verb=get --resource=pods                          # exit 1
        ! *{unknown}*
        $ create rolebinding b --role=r --user=u                            # exit 1
        ! *{unknown}*
        $ create clusterrole r --verb=get --resource=pods                   # exit 1
        ! *{unknown}*
        $ create clusterrolebinding b --clusterrole=r --user=u              # exit 1
        ! *{unknown}*
        $ create ingress i --rule=a.b/x=svc:80                              # exit 1
        ! *{unknown}*
        $ create quota q --hard=pods=2                                      # exit 1
        ! *{unknown}*
        $ create pdb p --selector=a=b --min-available=1                     # exit 1, 1.27+
        ! *{unknown}*
        $ create pdb p --selector=a=b --min-available=1                     # exit 1, 1.20
        ! error: no matches for kind "PodDisruptionBudget" in version "policy/v1beta1"
        $ create priorityclass p --value=10                                 # exit 1
        ! *{unknown}*
        $ create deployment web --image=nginx:1
        deployment.apps/web created
        $ autoscale deployment web --min=1 --max=3 --cpu-percent=50         # exit 1
        ! *{unknown}*
        """,
        unknown=UNKNOWN,
    )


@both_ends
def test_files_of_kinds_that_are_not_served(kubectl: Session) -> None:
    kubectl.play(
        """
        $ apply -f -                                    # < crd, exit 1
        ! *no matches for kind "CustomResourceDefinition" in version "apiextensions.k8s.io/v1"
        $ apply -f -                                    # < stateful, exit 1
        ! *no matches for kind "StatefulSet" in version "apps/v1"
        $ create -f -                                   # < widget, exit 1
        ! *no matches for kind "Widget" in version "example.com/v1"*
        $ apply -f -                                    # < both, exit 1
        configmap/first created
        ! *no matches for kind "Widget" in version "example.com/v1"*
        """,
        {
            "crd": json.dumps(CRD),
            "stateful": json.dumps(STATEFUL_SET),
            "widget": json.dumps(WIDGET),
            "both": FIRST + "---\n" + json.dumps(WIDGET),
        },
    )


@both_ends
@pytest.mark.parametrize(
    "kind",
    [
        "jobs", "cronjobs", "statefulsets", "daemonsets", "hpa", "ingress", "networkpolicies",
        "pdb", "pv", "pvc", "storageclasses", "roles", "clusterroles", "quota", "limitranges",
    ],
)  # fmt: skip
def test_kinds_that_nobody_knows(kubectl: Session, kind: str) -> None:
    output = kubectl.attempt("get", kind)
    assert output.code == 1
    assert f'the server doesn\'t have a resource type "{kind}"' in output.err


@both_ends
def test_what_needs_them(kubectl: Session) -> None:
    kubectl("run", "web", "--image=nginx:1")
    kubectl.play(
        """
        $ wait --for=condition=complete job/j --timeout=2s              # exit 1
        ! error: the server doesn't have a resource type "job"
        $ logs job/j                                                    # exit 1
        ! error: the server doesn't have a resource type "job"
        $ debug nope --image=busybox -c d                               # exit 1
        ! *pods "nope" not found
        $ debug web --image=busybox -c d                                # exit 1, 1.20-1.32
        ! error: ephemeral containers are disabled for this cluster *
        """
    )
