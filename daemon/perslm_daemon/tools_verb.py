"""The verbs `tools` and `approve`: which tools there are, a call by hand, and the answers to questions that
stand.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from perslm_daemon.home import Home
from perslm_daemon.recollection import Recollection
from perslm_daemon.tools import Caller, Manifest, Result, Tools
from perslm_daemon.turn import GUEST, Tell
from perslm_daemon.verbs import Args, Request
from perslm_runtime.errors import InputError
from perslm_runtime.tool_call import Argument, Names, Whole

_MOST_OPTIONS_TOLD = 40


class ToolsArgs(Args, frozen=True, forbid_unknown_fields=True):
    """`list` tells every tool, `info` one by its `name`, `call` calls it with its `arguments`.

    `yes` says at once what a question would ask for; through the control socket only.
    """

    action: Literal["list", "info", "call"] = "list"
    name: str = ""
    arguments: dict[str, str | int] = msgspec.field(default_factory=dict)
    yes: bool = False


class ApproveArgs(Args, frozen=True, forbid_unknown_fields=True):
    """`answer` answers the question `id` (the only one, where none is given) with `yes`; `list` tells what
    stands.
    """

    action: Literal["answer", "list"] = "answer"
    id: str | None = None
    yes: bool = True


class ToolVerbs:
    """The verbs over one registry; who is not vouched for calls as `owner`, or as a guest where that is wanted.

    The question that the `home` asks by itself is listed and answered with those of the tools.
    """

    def __init__(self, tools: Tools, recollection: Recollection, owner: str, home: Home | None = None) -> None:
        self._tools, self._recollection, self._owner, self._home = tools, recollection, owner, home

    def _person(self, request: Request) -> str:
        vouched = request.person is not None or request.source == "socket"
        return self._recollection.asker(request.person or self._owner, vouched=vouched)

    async def tools(self, args: ToolsArgs, request: Request, _tell: Tell) -> Mapping[str, Any]:
        """Tell of tools, or call one."""
        if args.action == "list":
            told = [manifest_data(one) for one in self._tools.manifests]
            return {"tools": told, "absent": dict(self._tools.absent)}
        if not args.name:
            raise InputError(f"{args.action} needs the `name` of a tool")
        if args.action == "info":
            manifest = self._tools.get(args.name)
            if manifest is None:
                why = self._tools.absent.get(args.name, "`perslm tools list` shows them")
                raise InputError(f"there is no tool {args.name[:41]!r}: {why}")
            return manifest_data(manifest)
        if args.yes and request.source != "socket":
            raise InputError("from here a question is answered with the verb approve, once it was asked")
        caller = Caller(self._person(request), request.source, yes=args.yes)
        return result_data(await self._tools.call(args.name, args.arguments, caller))

    async def approve(self, args: ApproveArgs, request: Request, _tell: Tell) -> Mapping[str, Any]:
        """Answer a question, or tell which stand."""
        person, of_home = self._person(request), self._home.pending if self._home is not None else None
        waiting = [
            _question_data(one.id, one.question, one.tool, one.seconds_left)
            for one in self._tools.approvals.waiting
        ]
        if of_home is not None:
            left_s = max(0.0, of_home.expires_at - time.monotonic())
            waiting.append(_question_data(of_home.id, of_home.question, "home", left_s))
        if args.action == "list":
            return {"approvals": waiting}
        wanted = args.id if args.id is not None or len(waiting) != 1 else waiting[0]["id"]
        if of_home is not None and wanted == of_home.id and person != GUEST:
            return {"id": wanted, "tool": "home", "yes": args.yes, "text": await self._home_answer(args, wanted)}
        answered, text = await self._tools.approvals.answer(args.yes, wanted, person=person, by=request.source)
        return {"id": answered.id, "tool": answered.tool, "yes": args.yes, "text": text}

    async def _home_answer(self, args: ApproveArgs, id_: str) -> str:
        assert self._home is not None  # noqa: S101 - it has asked
        outcomes = await self._home.confirm(args.yes, id_, by="approve")
        return self._home.summary(outcomes) if args.yes else "I leave it."


def _question_data(id_: str, question: str, tool: str, left_s: float) -> dict[str, Any]:
    return {"id": id_, "question": question, "tool": tool, "seconds_left": round(left_s, 1)}


def manifest_data(one: Manifest) -> dict[str, Any]:
    """A manifest as it is told."""
    return {
        "name": one.name,
        "about": one.about,
        "arguments": [_argument_data(argument) for argument in one.arguments],
        "reads": list(one.reads),
        "changes": list(one.changes),
        "risk": one.risk.value,
        "strangers": one.strangers,
        "sends": one.sends,
        "guests": one.guests,
        "for_model": one.for_model,
        "seconds": one.limits.seconds,
        "memory_mb": one.limits.memory_mb,
        "family": one.family,
        "origin": one.origin,
    }


def _argument_data(argument: Argument) -> dict[str, Any]:
    if isinstance(argument, Names):
        options = list(argument.options[:_MOST_OPTIONS_TOLD])
        return {"name": argument.name, "one_of": options, "options": len(argument.options)}
    if isinstance(argument, Whole):
        return {"name": argument.name, "least": argument.least, "most": argument.most}
    return {"name": argument.name, "most_characters": argument.most_characters}


def result_data(result: Result) -> dict[str, Any]:
    """A result as it is told; `approval` stands where nothing was done yet."""
    told: dict[str, Any] = {
        "tool": result.tool,
        "text": result.text,
        "source": result.source,
        "strangers": result.strangers,
        "data": dict(result.data),
    }
    if result.approval is not None:
        told["approval"] = {
            "id": result.approval.id,
            "question": result.approval.question,
            "seconds_left": round(result.approval.seconds_left, 1),
        }
    return told
