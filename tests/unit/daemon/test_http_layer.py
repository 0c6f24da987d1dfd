from http import HTTPMethod
from typing import Any

import pytest
from aiohttp import web
from pydantic import BaseModel

from daemon.api.layer import Reply, Route, Scope, UndeclaredRouteError, make_application
from daemon.api.openapi import document


class Question(BaseModel):
    number: int


class Answer(BaseModel):
    text: str


async def ask(_: web.Request, body: Question) -> Reply:
    return Reply(Answer(text=str(body.number)), 201)


async def look(_: web.Request) -> Reply:
    return Reply(b"x")


ROUTES = [
    Route(
        method=HTTPMethod.POST,
        path="/question",
        name="ask",
        summary="Ask.",
        scope=Scope.BANK,
        handle=ask,
        replies={201: Answer},
        problems=(409,),
    ),
    Route(
        method=HTTPMethod.GET,
        path="/look",
        name="look",
        summary="Look.",
        scope=Scope.OPEN,
        handle=look,
        replies={200: "text/plain; charset=utf-8"},
    ),
]


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if "$ref" in node else set()
        return own.union(*(references(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(references(value) for value in node))
    return set()


def test_the_document_tells_of_each_route_its_scope_body_replies_and_problems() -> None:
    paths = document(ROUTES, "Test", "1")["paths"]
    asked = paths["/question"]["post"]
    assert asked["x-scope"] == "bank"
    assert "application/json" in asked["requestBody"]["content"]
    assert sorted(asked["responses"]) == ["201", "408", "409", "413", "415", "422", "500"]
    assert list(asked["responses"]["409"]["content"]) == ["application/problem+json"]
    assert list(paths["/look"]["get"]["responses"]["200"]["content"]) == ["text/plain"]


def test_every_reference_in_the_document_leads_somewhere() -> None:
    written = document(ROUTES, "Test", "1")
    names = {reference.removeprefix("#/components/schemas/") for reference in references(written)}
    assert {"Question", "Answer", "Problem", "FieldError"} <= names
    assert names <= written["components"]["schemas"].keys()


async def test_an_application_whose_routes_are_all_declared_starts() -> None:
    app = make_application(ROUTES)
    app.freeze()
    await app.startup()


async def test_an_application_with_a_route_of_no_scope_refuses_to_start() -> None:
    app = make_application(ROUTES)

    async def backdoor(_: web.Request) -> web.Response:
        return web.Response()

    app.router.add_post("/backdoor", backdoor)
    app.freeze()
    with pytest.raises(UndeclaredRouteError, match="POST /backdoor is not declared"):
        await app.startup()
