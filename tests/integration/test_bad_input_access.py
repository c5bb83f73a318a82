"""Who may not come in, and what they are told: tokens, certificates, authorities, rights."""

import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from apiserver_pki import TestPki
from hollow_cluster import HollowCluster, until
from kubectl_session import Session, both_ends

from wherry.apiserver.tokens import TokenConfig, TokenIssuer
from wherry.process.clock import SystemClock

pytestmark = pytest.mark.integration

HOUR_S = 3600


def account_token(hollow: HollowCluster, namespace: str, *, age_s: float = 0, uid: str = "") -> str:
    """Return a token of the namespace's ServiceAccount `robot` (made for it), an hour long."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    hollow.ask(path, method="POST", body={"metadata": {"name": "robot"}})
    actual = hollow.ask(f"{path}/robot")[1]["metadata"]["uid"]
    issuer = TokenIssuer(TokenConfig(signing_key=hollow.pki("sa.key").read_bytes()))
    now = SystemClock().now() - age_s
    return issuer.issue(
        namespace, "robot", uid or actual, now=now, lifetime_s=HOUR_S, token_id="test"
    )


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_good_token_first(hollow: HollowCluster, namespace: str) -> None:
    """The refusals below are about what is wrong with the token, not with how it is sent."""
    headers = bearer(account_token(hollow, namespace))
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    code, me = hollow.ask(path, method="POST", body=review, headers=headers, user=None)
    assert code == 201
    assert me["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:robot"
    code, status = hollow.ask("/api/v1/nodes", headers=headers, user=None)
    assert (code, status["reason"]) == (403, "Forbidden")
    assert status["message"] == (
        f'nodes is forbidden: User "system:serviceaccount:{namespace}:robot" cannot list resource '
        '"nodes" in API group "" at the cluster scope'
    )


@pytest.mark.parametrize("wrong", ["unknown", "expired", "not-yet", "stranger", "changed", "gone"])
def test_bad_tokens(hollow: HollowCluster, namespace: str, tmp_path: Path, wrong: str) -> None:
    token = account_token(hollow, namespace)
    if wrong == "unknown":
        token = "nonsense"
    elif wrong == "expired":
        token = account_token(hollow, namespace, age_s=HOUR_S + 1)
    elif wrong == "not-yet":
        token = account_token(hollow, namespace, age_s=-HOUR_S)
    elif wrong == "stranger":
        token = account_token(hollow, namespace, uid="1-2-3")
    elif wrong == "changed":
        head, claims, signature = token.split(".")
        token = f"{head}.{claims[:-6]}AAAAAA.{signature}"
    else:
        account = f"/api/v1/namespaces/{namespace}/serviceaccounts/robot"
        assert hollow.ask(account, method="DELETE")[0] == 200
        until(lambda: _opens_nothing(hollow, token), "the authenticator's cache")
    code, status = hollow.ask("/api/v1/pods", headers=bearer(token), user=None)
    assert code == 401
    assert (status["reason"], status["code"]) == ("Unauthorized", 401)
    assert token not in str(status)
    # Nobody looks at a token beside a certificate.
    assert hollow.ask("/api/v1/pods", headers=bearer(token))[0] == 200


def _opens_nothing(hollow: HollowCluster, token: str) -> bool:
    return hollow.ask("/api/v1/pods", headers=bearer(token), user=None)[0] == 401


@pytest.mark.parametrize("header", ["", "Bearer ", "Bearer  t", "Bearer", "Basic YTpi", "nonsense"])
def test_nobody(hollow: HollowCluster, header: str) -> None:
    headers = {"Authorization": header} if header else {}
    code, status = hollow.ask("/api/v1/pods", headers=headers, user=None)
    assert (code, status["reason"], status["message"]) == (401, "Unauthorized", "Unauthorized")
    assert hollow.ask("/api/v1/pods", headers=headers)[0] == 200
    assert hollow.ask("/version", headers=headers, user=None)[0] == 200
    assert hollow.ask("/readyz", user=None) == (200, "ok")


def test_a_client_that_trusts_another_authority(hollow: HollowCluster, tmp_path: Path) -> None:
    context = ssl.create_default_context(cafile=str(TestPki(tmp_path, "another-ca").ca))
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
        _talk(hollow, context)


def test_a_certificate_of_another_authority(hollow: HollowCluster, tmp_path: Path) -> None:
    """Refused by TLS itself, which says why: in TLS 1.3 when the client next reads."""
    stranger = TestPki(tmp_path, "wherry-ca").admin()
    context = hollow.tls(None)
    context.load_cert_chain(stranger.cert, stranger.key)
    with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
        _talk(hollow, context)
    until(lambda: "refused a client's certificate" in hollow.logs()["apiserver.log"], "the log")


def _talk(hollow: HollowCluster, context: ssl.SSLContext) -> None:
    with (
        socket.create_connection(("127.0.0.1", hollow.ports["secure"]), timeout=60) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n")
        connection.recv(100)


@both_ends
def test_what_kubectl_says(kubectl: Session, tmp_path: Path) -> None:
    stranger = TestPki(tmp_path, "another-ca")
    other = stranger.admin()
    expired = account_token(kubectl.cluster, kubectl.namespace, age_s=HOUR_S + 1)
    good = account_token(kubectl.cluster, kubectl.namespace)
    server = f"--server={kubectl.cluster.server}"
    mine = f"--certificate-authority={kubectl.cluster.pki('ca.crt')}"

    def said(*flags: str) -> str:
        done = subprocess.run(
            [str(kubectl.program), "--kubeconfig=/dev/null", *flags, "get", "pods"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=kubectl.environment,
        )
        assert done.returncode == 1, done
        return done.stderr

    assert "Forbidden" in said(server, mine, f"--token={good}")
    for token in (expired, "nonsense"):
        words = said(server, mine, f"--token={token}")
        assert "You must be logged in to the server" in words
        assert token not in words
    assert "x509: certificate signed by unknown authority" in said(
        server, f"--certificate-authority={stranger.ca}", f"--token={good}"
    )
    assert "tls: unknown certificate authority" in said(
        server, mine, f"--client-certificate={other.cert}", f"--client-key={other.key}"
    )
    assert "was refused - did you specify the right host or port?" in said(
        "--server=https://127.0.0.1:1", mine, f"--token={good}"
    )
