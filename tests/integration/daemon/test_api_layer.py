"""The typed layer over real HTTP: whatever goes wrong, the answer is a problem (RFC 9457)."""

from collections.abc import AsyncIterator
from http import HTTPMethod

import pytest
import pytest_asyncio
from aiohttp import web
from pydantic import BaseModel, Field

from daemon.api.layer import Reply, Route, Scope, make_application
from tests.integration.daemon.served import Answer, Api, listening

JSON = {"Content-Type": "application/json"}


class Line(BaseModel):
    number: int = Field(gt=0)


class Order(BaseModel):
    name: str
    lines: list[Line] = []


async def take(_: web.Request, body: Order) -> Reply:
    return Reply(body, 201)


async def fail(_: web.Request) -> Reply:
    raise RuntimeError("hunter2")


@pytest_asyncio.fixture(loop_scope="session")
async def api() -> AsyncIterator[Api]:
    routes = [
        Route(
            method=HTTPMethod.POST,
            path="/orders",
            name="take",
            summary="Take.",
            scope=Scope.OPEN,
            handle=take,
            replies={201: Order},
        ),
        Route(
            method=HTTPMethod.GET,
            path="/fail",
            name="fail",
            summary="Fail.",
            scope=Scope.OPEN,
            handle=fail,
            replies={200: "text/plain"},
        ),
    ]
    async with listening(make_application(routes)) as opened:
        yield opened


def is_problem(answer: Answer, status: int) -> bool:
    return (
        answer.status == status
        and answer.headers["Content-Type"].partition(";")[0] == "application/problem+json"
        and answer.json["status"] == status
        and bool(answer.json["title"])
    )


async def test_a_body_that_fits_reaches_the_route_and_its_model_comes_back(api: Api) -> None:
    answer = await api.post("/orders", b'{"name": "a", "lines": [{"number": 1}]}', JSON)
    assert (answer.status, answer.json) == (201, {"name": "a", "lines": [{"number": 1}]})


async def test_what_is_not_there_is_a_404(api: Api) -> None:
    assert is_problem(await api.get("/nothing"), 404)


async def test_a_method_that_is_not_served_is_a_405_that_names_those_that_are(api: Api) -> None:
    answer = await api.get("/orders")
    assert is_problem(answer, 405)
    assert answer.headers["Allow"] == "POST"


async def test_a_body_of_another_media_type_is_a_415(api: Api) -> None:
    assert is_problem(await api.post("/orders", b"{}", {"Content-Type": "text/xml"}), 415)


async def test_a_body_beyond_the_limit_is_a_413(api: Api) -> None:
    body = b'"' + b"x" * 256 * 1024 + b'"'
    assert is_problem(await api.post("/orders", body, JSON), 413)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"{", "$"),
        (b"", "$"),
        (b"[]", "$"),
        (b"{}", "$.name"),
        (b'{"name": "a", "lines": [{"number": 1}, {"number": 0}]}', "$.lines[1].number"),
    ],
)
async def test_a_body_that_does_not_fit_is_a_422_with_the_fields_path(
    api: Api, body: bytes, path: str
) -> None:
    answer = await api.post("/orders", body, JSON)
    assert is_problem(answer, 422)
    assert [fault["path"] for fault in answer.json["errors"]] == [path]


async def test_what_was_sent_is_not_repeated_in_the_answer(api: Api) -> None:
    answer = await api.post("/orders", b'{"name": 5, "lines": "hunter2"}', JSON)
    assert is_problem(answer, 422)
    assert "hunter2" not in answer.text


async def test_a_bug_is_a_500_that_tells_nothing_of_it(api: Api) -> None:
    answer = await api.get("/fail")
    assert is_problem(answer, 500)
    assert "hunter2" not in answer.text
