"""Deployments and what belongs to them: apply, edit, patch, scale, set, roll out, undo, expose.

"(no change)" is kubectl's comparison of whole objects: a status written meanwhile is a change.
"""

import pytest
from kubectl_session import WEB, Session, both_ends, every_build

pytestmark = pytest.mark.integration

FILES = {
    "web": WEB,
    "changed": WEB.replace("nginx:1", "nginx:2"),
    "other selector": WEB.replace("matchLabels: {app: web}", "matchLabels: {app: api}"),
    "misspelt": WEB.replace("replicas:", "replica:"),
    "wrong type": WEB.replace("replicas: 2", "replicas: two"),
}


@every_build
def test_apply_and_diff(kubectl: Session) -> None:
    kubectl.play(
        """
        $ diff -f -                                     # < web, exit 1
        +kind: Deployment
        $ apply -f - --dry-run=server                   # < web
        deployment.apps/web created (server dry run)
        $ apply -f - --dry-run=client                   # < web
        deployment.apps/web created (dry run)
        $ get deployments
        ! No resources found in {namespace} namespace.
        $ apply -f -                                    # < web
        deployment.apps/web created
        $ apply -f -                                    # < web
        deployment.apps/web unchanged
        $ rollout status deployment/web --timeout=90s
        deployment "web" successfully rolled out
        $ diff -f -                                     # < web, until
        $ diff -f -                                     # < changed, exit 1
        - - image: nginx:1
        + - image: nginx:2
        $ apply -f - --dry-run=server                   # < changed
        deployment.apps/web configured (server dry run)
        $ get deployment web -o jsonpath={.spec.template.spec.containers[0].image}
        nginx:1
        $ apply -f -                                    # < changed
        deployment.apps/web configured
        $ get deployment web -o jsonpath={.spec.template.spec.containers[0].image}
        nginx:2
        $ apply view-last-applied deployment/web
        - image: nginx:2
        $ apply --server-side -f -                      # < web
        deployment.apps/web serverside-applied
        $ get deployment web -o jsonpath={.spec.template.spec.containers[0].image}
        nginx:1
        $ replace -f -                                  # < web, until
        deployment.apps/web replaced
        $ delete -f -                                   # < web
        deployment.apps "web" deleted*
        $ apply --server-side -f -                      # < web
        deployment.apps/web serverside-applied
        $ delete -f -                                   # < web
        deployment.apps "web" deleted*
        $ get deployments,replicasets,pods              # until
        ! No resources found in {namespace} namespace.
        """,
        FILES,
    )


@every_build
def test_a_rollout_and_back(kubectl: Session) -> None:
    kubectl.play(
        """
        $ create deployment web --image=nginx:1 --replicas=3
        deployment.apps/web created
        $ rollout status deployment/web --timeout=90s
        deployment "web" successfully rolled out
        $ get deployment web -o wide
        NAME  READY  UP-TO-DATE  AVAILABLE  AGE  CONTAINERS  IMAGES   SELECTOR
        web   3/3    3           3          *    nginx       nginx:1  app=web
        $ get rs -o wide
        NAME  DESIRED  CURRENT  READY  AGE  CONTAINERS  IMAGES   SELECTOR
        web-* 3        3        3      *    nginx       nginx:1  app=web,pod-template-hash=*
        $ set image deployment/web nginx=nginx:2
        deployment.apps/web image updated
        $ annotate deployment web kubernetes.io/change-cause=two
        deployment.apps/web annotate*
        $ rollout status deployment/web --timeout=90s
        deployment "web" successfully rolled out
        $ get pods -l app=web -o jsonpath={.items[*].spec.containers[*].image}     # until
        nginx:2 nginx:2 nginx:2
        $ rollout history deployment/web                # until
        deployment.apps/web
        REVISION CHANGE-CAUSE
        1 <none>
        2 two
        $ rollout history deployment/web --revision=1
        deployment.apps/web with revision #1
        Image: nginx:1
        $ rollout history deployment/web --revision=9   # exit 1
        ! error: unable to find the specified revision
        $ rollout undo deployment/web
        deployment.apps/web rolled back
        $ rollout status deployment/web --timeout=90s
        deployment "web" successfully rolled out
        $ rollout history deployment/web                # until
        REVISION CHANGE-CAUSE
        2 two
        3 <none>
        $ rollout undo deployment/web --to-revision=2
        deployment.apps/web rolled back
        $ rollout undo deployment/web --to-revision=7   # exit 1
        ! error: unable to find specified revision 7 in history
        $ rollout restart deployment/web
        deployment.apps/web restarted
        $ rollout status deployment/web --timeout=90s
        deployment "web" successfully rolled out
        $ get deployment web -o jsonpath={.spec.template.metadata.annotations}
        {"kubectl.kubernetes.io/restartedAt":"20*"}
        $ rollout pause deployment/web
        deployment.apps/web paused
        $ rollout pause deployment/web                  # exit 1
        ! error: deployments.apps "web" is already paused
        $ set image deployment/web nginx=nginx:3
        deployment.apps/web image updated
        $ rollout undo deployment/web                   # exit 1
        ! error: *paused*
        $ rollout resume deployment/web
        deployment.apps/web resumed
        $ rollout status deployment/web --timeout=90s
        deployment "web" successfully rolled out
        $ describe deployment web                       # until
        Name: web
        Namespace: {namespace}
        Labels: app=web
        Selector: app=web
        Replicas: 3 desired | 3 updated | 3 total | 3 available | 0 unavailable
        StrategyType: RollingUpdate
        RollingUpdateStrategy: 25% max unavailable, 25% max surge
        Image: nginx:3
        Available True MinimumReplicasAvailable
        Progressing True NewReplicaSetAvailable
        NewReplicaSet: web-* (3/3 replicas created)
        Events:
        Normal ScalingReplicaSet * deployment-controller *Scaled up replica set web-*
        $ describe rs                                   # until
        Controlled By: Deployment/web
        Normal SuccessfulCreate * replicaset-controller Created pod: web-*
        $ get all                                       # until
        pod/web-* 1/1 Running 0 *
        deployment.apps/web 3/3 3 3 *
        replicaset.apps/web-* 3 3 3 *
        """
    )


@every_build
def test_scale_set_edit_patch(kubectl: Session) -> None:
    kubectl.play(
        """
        $ create -f -                                   # < web
        deployment.apps/web created
        $ scale deployment web --replicas=3
        deployment.apps/web scaled
        $ scale deployment web --current-replicas=2 --replicas=5    # exit 1
        ! error: *xpected replicas to be 2, was 3
        $ scale deployment web --current-replicas=3 --replicas=1
        deployment.apps/web scaled
        $ scale deployment web --replicas=-1            # exit 1
        ! error: *replicas*
        $ scale deployment none --replicas=1            # exit 1
        $ get deployment web --subresource=scale        # 1.27+
        NAME DESIRED AVAILABLE AGE
        web 1 * *
        $ set env deployment/web MODE=fast
        deployment.apps/web env updated
        $ set env deployment/web --list
        MODE=fast
        $ set resources deployment/web --limits=cpu=200m,memory=64Mi --requests=cpu=100m
        deployment.apps/web resource requirements updated
        $ set serviceaccount deployment/web default
        deployment.apps/web serviceaccount updated
        $ edit deployment web
        deployment.apps/web edited
        $ get deployment web -o jsonpath={.spec.template.spec.containers[0].image}
        nginx:9
        $ edit deployment web
        ! Edit cancelled, no changes made.
        $ patch deployment web -p {strategic}
        deployment.apps/web patched
        $ patch deployment web -p {strategic}           # until
        deployment.apps/web patched (no change)
        $ get deployment web -o jsonpath={.spec.template.spec.containers[*].name}
        sidecar c
        $ patch deployment web --type=merge -p {merge}
        deployment.apps/web patched
        $ patch deployment web --type=json -p {json}
        deployment.apps/web patched
        $ get deployment web -o jsonpath={.spec.template.spec.containers[*].name}{.spec.replicas}
        c4
        $ patch deployment web --type=json -p {impossible}    # exit 1, 1.20
        ! The request is invalid
        $ patch deployment web --type=json -p {impossible}    # exit 1, 1.27+
        ! The request is invalid: the server rejected our request due to an error in our request
        $ patch deployment web -p {wrong}               # exit 1
        ! The request is invalid: patch: Invalid value: "map[spec:map[replicas:many]]": unrecognized type: int32
        $ patch deployment web --subresource=status --type=merge -p {status}    # 1.27+
        deployment.apps/web patched
        $ label deployment web tier=front
        deployment.apps/web labeled
        $ get deployment -l tier=front -o name
        deployment.apps/web
        $ rollout status deployment/web --timeout=90s
        deployment "web" successfully rolled out
        """,
        FILES,
        strategic="""'{"spec":{"template":{"spec":{"containers":[{"name":"sidecar","image":"x"}]}}}}'""",
        merge="""'{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"y"}]}}}}'""",
        json="""'[{"op":"replace","path":"/spec/replicas","value":4}]'""",
        impossible="""'[{"op":"remove","path":"/spec/nothing"}]'""",
        wrong="""'{"spec":{"replicas":"many"}}'""",
        status="""'{"status":{"collisionCount":1}}'""",
    )


@every_build
def test_services(kubectl: Session) -> None:
    kubectl.play(
        """
        $ create deployment web --image=nginx:1 --replicas=2
        deployment.apps/web created
        $ expose deployment web --port=80 --target-port=8080
        service/web exposed
        $ expose deployment web --port=80               # exit 1
        ! Error from server (AlreadyExists): services "web" already exists
        $ expose deployment web --name=web-node --port=80 --type=NodePort
        service/web-node exposed
        $ get svc -o wide
        NAME      TYPE       CLUSTER-IP  EXTERNAL-IP  PORT(S)      AGE  SELECTOR
        web       ClusterIP  10.*        <none>       80/TCP       *    app=web
        web-node  NodePort   10.*        <none>       80:3*/TCP    *    app=web
        $ get svc web-node -o jsonpath={.spec.ports[0].nodePort}
        3*
        $ get endpoints web                             # until
        NAME  ENDPOINTS               AGE
        web   10.*:8080,10.*:8080     *
        $ get endpointslices -l kubernetes.io/service-name=web    # until
        NAME   ADDRESSTYPE  PORTS  ENDPOINTS  AGE
        web-*  IPv4         8080   10.*,10.*  *
        $ describe service web
        Name: web
        Selector: app=web
        Type: ClusterIP
        IP: 10.*
        TargetPort: 8080/TCP
        Endpoints: 10.*:8080,10.*:8080
        Session Affinity: None
        $ create service clusterip plain --tcp=80:8080
        service/plain created
        $ create service nodeport high --tcp=80 --node-port=30085
        service/high created
        $ create service nodeport again --tcp=80 --node-port=30085    # exit 1
        ! *spec.ports[0].nodePort: Invalid value: 30085: provided port is already allocated
        $ create service nodeport low --tcp=80 --node-port=80         # exit 1
        ! *spec.ports[0].nodePort: Invalid value: 80: *30000-32767
        $ create service clusterip headless --tcp=80 --clusterip=None
        service/headless created
        $ create service externalname away --external-name=example.com
        service/away created
        $ get svc away headless
        NAME      TYPE          CLUSTER-IP  EXTERNAL-IP  PORT(S)  AGE
        away      ExternalName  <none>      example.com  *
        headless  ClusterIP     None        <none>       80/TCP   *
        $ set selector service plain app=web
        service/plain selector updated
        $ get service plain -o jsonpath={.spec.selector}
        {"app":"web"}
        $ patch service web -p {again}                  # exit 1
        ! The Service "web" is invalid: spec.clusterIPs[0]: Invalid value: *: may not change once set
        $ delete service web web-node plain high headless away
        service "web" deleted*
        service "away" deleted*
        """,
        again="""'{"spec":{"clusterIP":"10.96.0.99","clusterIPs":["10.96.0.99"]}}'""",
    )


@every_build
def test_deleting_with_and_without_what_it_owns(kubectl: Session) -> None:
    kubectl.play(
        """
        $ create -f -                                   # < web
        deployment.apps/web created
        $ rollout status deployment/web --timeout=90s
        deployment "web" successfully rolled out
        $ delete deployment web --cascade=orphan
        deployment.apps "web" deleted*
        $ get rs,pods -l app=web
        replicaset.apps/web-* 2 2 2 *
        pod/web-* 1/1 Running 0 *
        pod/web-* 1/1 Running 0 *
        $ create -f -                                   # < web
        deployment.apps/web created
        $ rollout status deployment/web --timeout=90s
        deployment "web" successfully rolled out
        $ get rs -l app=web -o jsonpath={.items[*].metadata.ownerReferences[0].name}
        web
        $ delete deployment web --cascade=foreground
        deployment.apps "web" deleted*
        $ get rs,pods                                   # until
        ! No resources found in {namespace} namespace.
        $ create -f -                                   # < web
        deployment.apps/web created
        $ delete deployment web --cascade=background
        deployment.apps "web" deleted*
        $ get rs,pods                                   # until
        ! No resources found in {namespace} namespace.
        """,
        FILES,
    )


@both_ends
def test_what_is_refused(kubectl: Session) -> None:
    kubectl.play(
        """
        $ create -f -                                   # < wrong type, exit 1, 1.27+
        ! *Deployment in version "v1" cannot be handled as a Deployment: *spec.replicas*
        $ create -f -                                   # < wrong type, exit 1, 1.20
        ! *invalid type for io.k8s.api.apps.v1.DeploymentSpec.replicas: got "string", expected "integer"*
        $ create -f - --validate=false                  # < wrong type, exit 1
        ! *Deployment in version "v1" cannot be handled as a Deployment: *spec.replicas*
        $ create -f -                                   # < misspelt, exit 1, 1.27+
        ! *strict decoding error: unknown field "spec.replica"
        $ create -f -                                   # < other selector, exit 1
        ! The Deployment "web" is invalid: spec.template.metadata.labels: Invalid value: *: `selector` does not match template `labels`
        $ get deployments
        ! No resources found in {namespace} namespace.
        $ create -f -                                   # < web
        deployment.apps/web created
        $ apply -f -                                    # < other selector, exit 1
        ! *field is immutable
        """,
        FILES,
    )
