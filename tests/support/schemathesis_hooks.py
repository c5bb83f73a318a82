"""What schemathesis is told of our API beyond the documents; it imports this in its own process.

Requests mostly go to objects that exist, what a DELETE took is made again, and every answer is
looked at as the API conventions have it: a failure is a Status, a success has a documented code.
"""

import json
import os
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import requests
import schemathesis
from schemathesis.openapi.checks import JsonSchemaError

_TOLD: Final[dict[str, Any]] = json.loads(Path(os.environ["WHERRY_SCHEMATHESIS"]).read_text())
"""url, ca, cert, key, and `samples`: an object by the template of its collection's path."""
_SAMPLES: Final[dict[str, dict[str, Any]]] = _TOLD["samples"]
Case = schemathesis.Case[Any]
_NAMESPACE: Final = "default"
_ELSEWHERE: Final = 8
"""One request of so many goes where the generator says, which mostly is nowhere."""
_UPSTREAMS_500: Final = "failed to create typed patch object"
"""kube-apiserver answers an apply of unknown or repeated fields with 500, and so do we."""
_UPSTREAMS_GAP: Final = '"eventTime" is a required property'
"""Of events.k8s.io: an event made by core/v1 has none; kube-apiserver shows null there."""


def _collection(case: Case) -> str:
    return str(case.operation.path).partition("/{name}")[0]


@schemathesis.hook
def before_load_schema(context: schemathesis.HookContext, raw_schema: dict[str, Any]) -> None:
    """Allow numbers in what is a number or a string: OpenAPI 2.0 has no words for it."""
    for definition in raw_schema.get("definitions", {}).values():
        if definition.get("format") == "int-or-string":
            del definition["type"]


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Go to an object that is there, mostly."""
    path = case.path_parameters
    if not path or crc32(repr(path).encode()) % _ELSEWHERE == 0:
        return
    if "namespace" in path:
        path["namespace"] = _NAMESPACE
    if "name" in path and (sample := _SAMPLES.get(_collection(case))) is not None:
        path["name"] = sample["metadata"]["name"]


@schemathesis.hook
def after_call(
    context: schemathesis.HookContext, case: Case, response: schemathesis.Response
) -> None:
    """Make again what a DELETE took; where it is still there, it is a conflict."""
    sample = _SAMPLES.get(_collection(case))
    if case.method == "DELETE" and response.status_code < 300 and sample is not None:
        path = _collection(case).replace("{namespace}", _NAMESPACE)
        requests.post(
            _TOLD["url"] + path,
            json=sample,
            verify=_TOLD["ca"],
            cert=(_TOLD["cert"], _TOLD["key"]),
            timeout=60,
        )


@schemathesis.check
def answers_as_documented(
    context: schemathesis.CheckContext, response: schemathesis.Response, case: Case
) -> None:
    """Check that a failure is a Status of its code, and that a success's code is documented."""
    code = response.status_code
    if code < 400:
        documented = case.operation.definition.raw["responses"]
        assert str(code) in documented, f"{code} is not among {sorted(documented)}"
        return
    status = json.loads(response.content)
    found = status["kind"], status["apiVersion"], status["status"], status["code"]
    assert found == ("Status", "v1", "Failure", code), found
    assert status["message"], "a Status without a message"


@schemathesis.hook
def filter_failure(
    context: schemathesis.HookContext,
    failure: AssertionError,
    case: Case,
    response: schemathesis.Response,
) -> bool:
    """Drop what upstream's documents and answers do not agree on either.

    Actions answer with a Status, deletions with what went or still waits for its finalizers, and
    the documents say otherwise.
    """
    if _UPSTREAMS_500 in response.text:
        return False
    if not isinstance(failure, JsonSchemaError):
        return True
    action = case.operation.definition.raw["x-kubernetes-action"]
    of_its_kind = not action.startswith("delete") and response.json().get("kind") != "Status"
    return of_its_kind and _UPSTREAMS_GAP not in str(failure)
