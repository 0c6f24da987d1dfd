"""Writes the OpenAPI 3.1 document of a list of routes."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from daemon.api import problem
from daemon.api.layer import Route
from daemon.api.problem import Problem

Mode = Literal["validation", "serialization"]
Json = dict[str, Any]

_BODY_PROBLEMS = (408, 413, 415)


def document(routes: Sequence[Route], title: str, version: str) -> Json:
    """The document; ``x-scope`` of an operation says whom it lets in."""
    schemas = _Schemas(routes)
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {"schemas": schemas.definitions},
    }


class _Schemas:
    """The JSON schemas of every model that the routes use, and references to them."""

    def __init__(self, routes: Sequence[Route]) -> None:
        used: dict[tuple[type[BaseModel], Mode], None] = {(Problem, "serialization"): None}
        for route in routes:
            for reply in route.replies.values():
                if not isinstance(reply, str):
                    used[(reply, "serialization")] = None
            if route.body is not None:
                used[(route.body, "validation")] = None
        self._references, found = models_json_schema(
            list(used), ref_template="#/components/schemas/{model}"
        )
        self.definitions: Json = found.get("$defs", {})

    def content(self, model: type[BaseModel], mode: Mode, media_type: str) -> Json:
        return {media_type: {"schema": self._references[(model, mode)]}}


def _operation(route: Route, schemas: _Schemas) -> Json:
    operation: Json = {
        "operationId": route.name,
        "summary": route.summary,
        "x-scope": route.scope.value,
        "responses": _responses(route, schemas),
    }
    if route.body is not None:
        content = schemas.content(route.body, "validation", "application/json")
        operation["requestBody"] = {"required": True, "content": content}
    elif route.raw_body is not None:
        operation["requestBody"] = {"required": True, "content": {route.raw_body: {}}}
    return operation


def _responses(route: Route, schemas: _Schemas) -> Json:
    responses: Json = {}
    for status, reply in route.replies.items():
        if isinstance(reply, str):
            content: Json = {reply.partition(";")[0]: {"schema": {"type": "string"}}}
        else:
            content = schemas.content(reply, "serialization", "application/json")
        responses[str(status)] = {"description": HTTPStatus(status).phrase, "content": content}
    for status in _problems(route):
        content = schemas.content(Problem, "serialization", problem.MEDIA_TYPE)
        responses[str(status)] = {"description": HTTPStatus(status).phrase, "content": content}
    return responses


def _problems(route: Route) -> list[int]:
    found = {*route.problems, 500}
    if route.body is not None:
        found |= {*_BODY_PROBLEMS, 422}
    elif route.raw_body is not None:
        found |= {*_BODY_PROBLEMS}
    return sorted(found)
