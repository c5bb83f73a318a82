"""The verbs over REST: options and bodies in, objects and streams out."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
import orjson

from wherry.api.clock import Clock
from wherry.api.errors import BadRequestError, MethodNotAllowedError, StatusError
from wherry.api.objects import Decoder, Meta
from wherry.apiserver.decode import decode_object, decode_options, decode_patch, strictly
from wherry.apiserver.gate import Action, Gate, authorize
from wherry.apiserver.http.message import JSON, NO_CACHE, Reply, Request, Response, Stream
from wherry.apiserver.http.pieces import Pieces
from wherry.apiserver.metrics import Metrics
from wherry.apiserver.patch import operation_of, unknown_members
from wherry.apiserver.resources import RETURNS_OBJECT, SCALE_VIEW
from wherry.apiserver.rest.accept import OBJECT, TABLE, YAML, Form, negotiate, patch_type
from wherry.apiserver.rest.action import check_selectors
from wherry.apiserver.rest.query import (
    Query,
    context,
    delete_options,
    include_object,
    list_options,
    watch_options,
)
from wherry.apiserver.rest.render import (
    PIECE_BYTES,
    YAML_TYPE,
    LiveLines,
    WatchRenderer,
    collection,
    error_line,
    pieces,
    single,
    to_yaml,
    warning_headers,
)
from wherry.apiserver.verbs import Context, User, Verbs, Written
from wherry.client.api import PatchType, WatchEvent

_NO_CACHE_ONLY = (NO_CACHE,)
_decode_meta = Decoder(Meta)


class Objects:
    """Performs one authorized action; every method raises `StatusError`."""

    def __init__(
        self,
        verbs: Verbs,
        gate: Gate,
        clock: Clock,
        metrics: Metrics,
        watch_s: Callable[[], float | None],
    ) -> None:
        self._watch_s = watch_s
        self._verbs = verbs
        self._gate = gate
        self._clock = clock
        self._metrics = metrics
        self._live = LiveLines()

    async def perform(self, action: Action, request: Request, query: Query, user: User) -> Reply:
        """Dispatch by verb."""
        match action.verb:
            case "get":
                return await self._get(action, request, query, user)
            case "list":
                return await self._list(action, request, query, user)
            case "watch":
                return self._watch(action, request, query, user)
            case "create" | "update" | "patch":
                return await self._write(action, request, query, user)
            case "delete":
                return await self._delete(action, request, query, user)
            case "deletecollection":
                return await self._delete_collection(action, request, query, user)
            case _:
                raise MethodNotAllowedError(f"verb {action.verb} is not served")

    async def _get(self, action: Action, request: Request, query: Query, user: User) -> Reply:
        form = negotiate(request.headers.get("accept", ""))
        ctx = Context(user)
        resource = action.resource
        revision = query.text("resourceVersion")
        raw = await self._verbs.get(
            ctx, resource, action.namespace, action.name, action.subresource, revision
        )
        return self._one(action, raw, form, query, ctx.warnings)

    async def _list(self, action: Action, request: Request, query: Query, user: User) -> Reply:
        form = negotiate(request.headers.get("accept", ""))
        ctx = Context(user)
        resource = action.resource
        page = await self._verbs.list(ctx, resource, action.namespace, list_options(query))
        include = include_object(query, form)
        body = collection(resource, page, form, include=include, now=self._clock.now())
        return _answer(200, body, form, ctx.warnings)

    def _watch(self, action: Action, request: Request, query: Query, user: User) -> Reply:
        form = negotiate(request.headers.get("accept", ""))
        form = form._replace(yaml=False)  # events have no form in YAML
        resource = action.resource
        options = watch_options(query)
        if options.timeout_s is None:
            options = replace(options, timeout_s=self._watch_s())
        if action.name:  # the deprecated /watch/.../NAME
            options = replace(options, fields=f"metadata.name={action.name}")
        check_selectors(resource, options.labels, options.fields)
        renderer = WatchRenderer(resource, form, include=include_object(query, form))

        def push(batch: Sequence[WatchEvent]) -> bool:
            lines = self._live.lines(batch)
            return len(lines) <= PIECE_BYTES and stream.push(lines)

        events = self._verbs.watch(
            Context(user),
            resource,
            action.namespace,
            options,
            None if form.kind else push,
        )
        stream = Stream(self._lines(action, events, renderer), headers=[NO_CACHE])
        return stream

    async def _lines(
        self,
        action: Action,
        events: AsyncIterator[Sequence[WatchEvent]],
        renderer: WatchRenderer,
    ) -> AsyncGenerator[bytes, None]:
        self._metrics.opened("rest", action.attributes)
        try:
            async for batch in events:
                for piece in pieces(batch):
                    yield renderer.lines(piece, now=self._clock.now())
        except StatusError as error:
            yield error_line(error.to_status())
        finally:
            self._metrics.closed("rest", action.attributes)
            close = getattr(events, "aclose", None)
            if close is not None:
                await close()

    async def _write(self, action: Action, request: Request, query: Query, user: User) -> Reply:
        form = negotiate(request.headers.get("accept", ""))
        kind = f"{action.verb.capitalize()}Options"
        form_of = (
            patch_type(request.headers.get("content-type", "")) if action.verb == "patch" else None
        )
        ctx = context(query, user, request.headers.get("user-agent", ""), kind, patch=form_of)
        if action.verb != "create":
            create = msgspec.structs.replace(action, verb="create").attributes
            ctx.may_create = partial(authorize, self._gate, user, create)
        if action.verb == "patch":
            written = await self._patch(ctx, action, request)
        else:
            written = await self._put(ctx, action, request)
        code = 201 if action.verb == "create" or written.created else 200
        return self._one(action, written.object, form, query, ctx.warnings, code)

    async def _put(self, ctx: Context, action: Action, request: Request) -> Written:
        resource = action.resource
        subresource = resource.subresource(action.subresource) if action.subresource else None
        body_kind = subresource.body if subresource is not None else None
        obj, warnings = decode_object(
            request.body,
            request.headers.get("content-type", ""),
            body_kind or resource.kind,
            field_validation=ctx.field_validation,
        )
        ctx.warnings.extend(warnings if ctx.field_validation == "Warn" else ())
        if action.verb == "update":
            return await self._verbs.update(
                ctx, resource, action.namespace, action.name, obj, action.subresource
            )
        return await self._verbs.create(
            ctx, resource, action.namespace, obj, action.name, action.subresource
        )

    async def _patch(self, ctx: Context, action: Action, request: Request) -> Written:
        kind = patch_type(request.headers.get("content-type", ""))
        patch, found = decode_patch(request.body, kind)
        if kind is PatchType.APPLY and found and ctx.field_validation == "Strict":
            why = "; ".join(strictly(found))
            raise BadRequestError(
                f"error strict decoding YAML: error converting YAML to JSON: {why}"
            )
        if kind is PatchType.JSON:
            found = [f"json patch {each}" for each in [*found, *unknown_members(patch)]]
            found.sort(key=operation_of)
        ctx.warnings.extend(found if ctx.field_validation != "Ignore" else ())
        return await self._verbs.patch(
            ctx,
            action.resource,
            action.namespace,
            action.name,
            patch,
            kind,
            action.subresource,
        )

    async def _delete(self, action: Action, request: Request, query: Query, user: User) -> Reply:
        form = negotiate(request.headers.get("accept", ""))
        ctx = context(query, user, request.headers.get("user-agent", ""), "DeleteOptions")
        options, ctx.dry_run = delete_options(query, _options_body(request))
        resource = action.resource
        written = await self._verbs.delete(ctx, resource, action.namespace, action.name, options)
        if not written.deleted or resource.kind.kind in RETURNS_OBJECT:
            return self._one(action, written.object, form, query, ctx.warnings)
        meta = _decode_meta(written.object).metadata
        details = {
            "name": meta.name or action.name,
            "group": resource.kind.group,
            "kind": resource.kind.plural,
            "uid": meta.uid,
        }
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {key: value for key, value in details.items() if value},
        }
        shown = YAML if form.yaml else OBJECT
        return _answer(200, orjson.dumps(status), shown, ctx.warnings)

    async def _delete_collection(
        self, action: Action, request: Request, query: Query, user: User
    ) -> Reply:
        form = negotiate(request.headers.get("accept", ""))
        ctx = context(query, user, request.headers.get("user-agent", ""), "DeleteOptions")
        options, ctx.dry_run = delete_options(query, _options_body(request))
        resource = action.resource
        page = await self._verbs.delete_collection(
            ctx, resource, action.namespace, list_options(query), options
        )
        include = include_object(query, form)
        body = collection(resource, page, form, include=include, now=self._clock.now())
        return _answer(200, body, form, ctx.warnings)

    def _one(
        self,
        action: Action,
        raw: bytes,
        form: Form,
        query: Query,
        warnings: Sequence[str],
        code: int = 200,
    ) -> Response:
        if form is OBJECT:
            return _answer(code, raw, form, warnings)
        resource = action.resource
        subresource = resource.subresource(action.subresource) if action.subresource else None
        if action.subresource == "scale":
            resource = SCALE_VIEW
        elif form.kind == TABLE and subresource is not None and subresource.body is not None:
            form = OBJECT  # a TokenRequest: nobody has columns for it
        include = include_object(query, form)
        body = single(resource, raw, form, include=include, now=self._clock.now())
        return _answer(code, body, form, warnings)


def _options_body(request: Request) -> dict[str, Any]:
    """Return the DeleteOptions sent with a DELETE; no body at all is common."""
    if not request.body:
        return {}
    value = decode_options(request.body, request.headers.get("content-type", ""))
    if (value.get("kind") or "DeleteOptions") != "DeleteOptions":
        raise BadRequestError("the body of a DELETE must be DeleteOptions")
    return value


def _answer(code: int, body: bytes | Pieces, form: Form, warnings: Sequence[str]) -> Response:
    headers: Sequence[tuple[str, str]] = _NO_CACHE_ONLY
    if warnings:
        headers = [NO_CACHE, *warning_headers(warnings)]
    if form.yaml:
        return Response(code, to_yaml(bytes(body)), YAML_TYPE, headers)
    return Response(code, body, JSON, headers)
