import asyncio
import io
import json
import logging
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
import structlog
from pydantic import SecretStr

from daemon.logs import configure


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the logs go for one test; what was set up before is put back afterwards."""
    root, kept = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    configure("info", written)
    yield written
    logging.captureWarnings(False)
    root.handlers[:], root.level = handlers, level
    structlog.configure(**kept)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_its_level_its_utc_time_and_its_fields(stream: io.StringIO) -> None:
    structlog.get_logger().info("mint_submitted", operation_id=7, op_id=b"\xab\xcd")
    (line,) = lines(stream)
    assert line["event"] == "mint_submitted"
    assert line["level"] == "info"
    assert (line["operation_id"], line["op_id"]) == (7, "0xabcd")
    at = datetime.fromisoformat(str(line["timestamp"]))
    assert at.utcoffset() == timedelta(0)


def test_what_is_below_the_level_is_left_out(stream: io.StringIO) -> None:
    structlog.get_logger().debug("detail")
    logging.getLogger("asyncio").debug("detail")
    assert lines(stream) == []


def test_the_standard_librarys_loggers_and_warnings_take_the_same_way(stream: io.StringIO) -> None:
    logging.getLogger("asyncio").error("task %s was lost", "x")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", UserWarning, stacklevel=1)
    first, second = lines(stream)
    assert (first["event"], first["logger"]) == ("task x was lost", "asyncio")
    assert second["logger"] == "py.warnings"


def test_access_lines_of_the_http_server_are_left_out(stream: io.StringIO) -> None:
    logging.getLogger("aiohttp.access").error("GET /")
    assert lines(stream) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"password": "hunter2"},
        {"owner_Password": "hunter2"},
        {"api_key": "hunter2"},
        {"headers": {"Authorization": "Bearer hunter2"}},
        {"webhook_secrets": ["hunter2", "hunter2"]},
        {"settings": [{"deep": {"secret": b"hunter2"}}]},
        {"value": SecretStr("hunter2")},
        {"values": [SecretStr("hunter2")]},
        {"url": "postgresql://daemon:hunter2@localhost/db"},
        {"error": OSError("cannot reach postgresql://daemon:hunter2@localhost/db")},
    ],
)
def test_no_secret_is_ever_written(stream: io.StringIO, fields: dict[str, object]) -> None:
    structlog.get_logger().error("failed", **fields)
    assert "hunter2" not in stream.getvalue()
    assert len(lines(stream)) == 1


def test_a_secret_in_an_exceptions_text_is_blanked_too(stream: io.StringIO) -> None:
    try:
        raise OSError("cannot reach postgresql://daemon:hunter2@localhost/db")
    except OSError:
        structlog.get_logger().exception("failed")
        logging.getLogger("asyncio").exception("failed again")
    assert "hunter2" not in stream.getvalue()
    assert all("Traceback" in str(line["exception"]) for line in lines(stream))


def test_an_error_given_by_hand_is_told_with_its_traceback_and_none_is_not(
    stream: io.StringIO,
) -> None:
    structlog.get_logger().error("loop_failed", exc_info=ValueError("odd"))
    structlog.get_logger().error("loop_failed", exc_info=None)
    first, second = lines(stream)
    assert "ValueError: odd" in str(first["exception"])
    assert not {"exception", "exc_info"} & second.keys()


def test_a_value_that_contains_itself_does_not_stop_the_log(stream: io.StringIO) -> None:
    endless: list[object] = []
    endless.append(endless)
    structlog.get_logger().info("odd", endless=endless)
    assert len(lines(stream)) == 1


async def test_fields_bound_to_the_context_are_in_every_line_of_a_task(stream: io.StringIO) -> None:
    async def work(number: int) -> None:
        with structlog.contextvars.bound_contextvars(operation_id=number):
            await asyncio.sleep(0)
            structlog.get_logger().info("step")

    await asyncio.gather(work(1), work(2))
    assert sorted(str(line["operation_id"]) for line in lines(stream)) == ["1", "2"]
