"""Verbs that can be asked for, their arguments, and how a request becomes an answer. No IO, no threads.

A request is a JSON object: `id`, if it is there, comes back in the answer, every other key is an argument of the verb.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from edge.errors import EdgeError
from edge.names import is_name
from edge.sources.base import PayloadError
from edge.sources.json_payload import decode

log = logging.getLogger("edge.requests")

MAX_REQUEST_BYTES = 64 << 10  # a request names things; it carries no data
MAX_ID = 64


class Arguments(BaseModel):
    """Arguments of one verb: subclass it. Unknown keys and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RequestError(EdgeError):
    """A request that is refused or failed. `code` is one of a small set, `field` the argument at fault."""

    def __init__(self, code: str, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.field = field


@dataclass(frozen=True)
class Verb:
    """One thing that can be asked for.

    `run` gets the checked arguments and gives the answer's `result`; it runs in the requests' own thread, one request
    at a time, and may take its time. It raises EdgeError with a sentence for the one who asked. `changes` says
    that it does more than look; such a verb is never on by default.
    """

    name: str
    help: str
    run: Callable[[Any], Mapping[str, object]]
    arguments: type[Arguments] = Arguments
    changes: bool = False


class Registry:
    """Verbs by name. `allowed` are those that the configuration lists."""

    def __init__(self, verbs: Iterable[Verb] = (), allowed: Iterable[str] = ()) -> None:
        self._verbs: dict[str, Verb] = {}
        self._allowed = frozenset(allowed)
        for verb in verbs:
            self.add(verb)

    def add(self, verb: Verb) -> None:
        """Offer a verb; a second one of the same name is a bug."""
        assert is_name(verb.name), verb.name
        assert verb.name not in self._verbs, verb.name
        self._verbs[verb.name] = verb

    @property
    def names(self) -> list[str]:
        """Every verb that there is, allowed or not."""
        return sorted(self._verbs)

    def answer(self, name: str, payload: bytes) -> dict[str, object]:
        """The answer to a request as JSON values; refused and failed requests are answered, too. Never raises."""
        request_id: object = None
        try:
            request = _object(payload)
            request_id = _id(request.pop("id", None))
            result = self._run(name, request)
        except RequestError as error:
            return refusal(error, request_id)
        return {"id": request_id, "ok": True, "result": dict(result)}

    def _run(self, name: str, arguments: Mapping[str, object]) -> Mapping[str, object]:
        verb = self._verbs.get(name)
        if verb is None or name not in self._allowed:
            # The same words for both: who may not ask need not know what there is.
            raise RequestError("not_allowed", "this agent does not answer to that; see requests.verbs")
        try:
            checked = verb.arguments.model_validate(arguments)
        except ValidationError as error:
            raise _readable(error) from error
        try:
            result = verb.run(checked)
        except RequestError:
            raise
        except EdgeError as error:
            raise RequestError("failed", str(error)) from error
        except Exception as error:
            log.exception("request %s failed", name)
            raise RequestError("internal", "a fault of the agent's own; its log says more") from error
        log.log(logging.WARNING if verb.changes else logging.INFO, "request %s: done", name)
        return result


def refusal(error: RequestError, request_id: object = None) -> dict[str, object]:
    """The answer that says why not."""
    return {
        "id": request_id,
        "ok": False,
        "error": {"code": error.code, "field": error.field, "message": str(error)},
    }


def _object(payload: bytes) -> dict[str, object]:
    if not payload.strip():
        return {}
    if len(payload) > MAX_REQUEST_BYTES:
        raise RequestError("bad_request", f"longer than {MAX_REQUEST_BYTES} bytes")
    try:
        request = decode(payload)
    except PayloadError as error:
        raise RequestError("bad_request", str(error)) from error
    if not isinstance(request, dict):
        raise RequestError("bad_request", 'not a JSON object; send {"id": "...", ...} or nothing')
    return request


def _id(value: object) -> str | int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 53):
        return value
    if isinstance(value, str) and len(value) <= MAX_ID:
        return value
    raise RequestError("bad_request", f"id is not a text of at most {MAX_ID} characters", field="id")


def _readable(error: ValidationError) -> RequestError:
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])[:80]
    says = "is not an argument of this verb" if first["type"] == "extra_forbidden" else first["msg"]
    return RequestError("bad_arguments", f"{field}: {says}", field=field)
