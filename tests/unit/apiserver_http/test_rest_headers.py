"""What headers say: in which form an answer is wanted, who asks, what is warned of. Tables."""

import pytest

from wherry.api.errors import NotAcceptableError, UnsupportedMediaError
from wherry.apiserver.gate import bearer, websocket_bearer
from wherry.apiserver.rest.accept import OBJECT, YAML, Form, negotiate, patch_type
from wherry.apiserver.rest.render import warning_header, warning_headers
from wherry.client.api import PatchType

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
TABLE_BETA = "application/json;as=Table;g=meta.k8s.io;v=v1beta1"
BETA = "meta.k8s.io/v1beta1"
FORMS = [
    ("", OBJECT),
    ("*/*", OBJECT),
    ("application/json", OBJECT),
    (f"{TABLE},{TABLE_BETA},application/json", Form("Table")),
    (f"{TABLE_BETA},application/json", Form("Table", BETA)),
    (f"{TABLE_BETA}", Form("Table", BETA)),
    (f"{TABLE_BETA};q=0.5,{TABLE};q=0.8,application/json;q=0.1", Form("Table")),
    (f"application/json;q=0.9,{TABLE}", Form("Table")),
    (f"application/json,{TABLE}", OBJECT),
    ("application/json;as=Table;v=v2;g=meta.k8s.io,application/json", OBJECT),
    ("application/json;as=Chart;v=v1;g=meta.k8s.io,application/json", OBJECT),
    ("application/json;v=v1;g=meta.k8s.io,application/yaml", YAML),
    (
        "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
        Form("PartialObjectMetadataList"),
    ),
    (
        "application/json;as=PartialObjectMetadata;v=v1beta1;g=meta.k8s.io",
        Form("PartialObjectMetadata", BETA),
    ),
    ("application/vnd.kubernetes.protobuf,application/json", OBJECT),
    (f"application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,{TABLE}", Form("Table")),
    ("application/yaml", YAML),
    ("application/yaml;as=Table;v=v1;g=meta.k8s.io", Form("Table", yaml=True)),
    ("text/html, application/json;q=0.5, application/yaml;q=0.9", YAML),
    ("application/json;q=0, application/yaml;q=0.1", YAML),
    ("application/json;stream=watch", OBJECT),
    ("application/json;q=nonsense", None),
    ("application/json;as=Table;v=v2;g=meta.k8s.io", None),
    ("text/html", None),
    ("application/vnd.kubernetes.protobuf", None),
]


@pytest.mark.parametrize(("accept", "form"), FORMS)
def test_accept(accept: str, form: Form | None) -> None:
    if form is None:
        with pytest.raises(NotAcceptableError):
            negotiate(accept)
    else:
        assert negotiate(accept) == form


def test_patch_types() -> None:
    assert patch_type("application/merge-patch+json; charset=utf-8") is PatchType.MERGE
    for unknown in ("", "application/json", "text/plain"):
        with pytest.raises(UnsupportedMediaError, match="accepted media types include"):
            patch_type(unknown)


def test_warnings_survive_go() -> None:
    assert warning_header('unknown field "spec.x"\n\\') == r'299 - "unknown field \"spec.x\" \\"'
    assert warning_header("ä") == '299 - "?"'


@pytest.mark.parametrize(
    ("texts", "count", "longest"),
    [
        (["a", "b", "a"], 2, 1),
        (["x" * 3000], 1, 3000),  # fits, so whole
        ([f"{n}" + "x" * 2000 for n in range(9)], 9, 256),
        ([f"{n:03}" + "x" * 2000 for n in range(100)], 16, 256),
        ([f"{n}" for n in range(100)], 80, 2),  # Python's http.client reads 100 headers in all
    ],
)
def test_warnings_are_no_more_than_clients_take(texts: list[str], count: int, longest: int) -> None:
    values = [value for _, value in warning_headers(texts)]
    assert len(values) == len(set(values)) == count
    assert max(map(len, values)) == longest + len('299 - ""')


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc ", "abc"),
        (" bearer abc", "abc"),
        ("Bearer abc def", "abc"),
        ("Bearer  abc", ""),
        ("Bearer ", ""),
        ("Bearer", ""),
        ("Bearerabc", ""),
        ("abc", ""),
        ("Basic abc", ""),
        ("", ""),
    ],
)
def test_bearer_tokens(header: str, token: str) -> None:
    assert bearer(header) == token


TOKEN = "base64url.bearer.authorization.k8s.io."


@pytest.mark.parametrize(
    ("protocols", "token"),
    [
        (f"{TOKEN}YS5iLmM, v4.channel.k8s.io", "a.b.c"),
        (f"v4.channel.k8s.io,{TOKEN}YS5iLmM", "a.b.c"),
        (f"{TOKEN}_w, x", ""),
        (f"{TOKEN}A, x", ""),
        (f"{TOKEN}\N{LATIN SMALL LETTER E WITH ACUTE}, x", ""),
        (f"{TOKEN}YS5iLmM", ""),
        (f"{TOKEN}YQ, {TOKEN}YQ, x", ""),
        ("v4.channel.k8s.io", ""),
        ("", ""),
    ],
)
def test_bearer_tokens_of_browsers(protocols: str, token: str) -> None:
    assert websocket_bearer(protocols) == token
