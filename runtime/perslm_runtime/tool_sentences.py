"""Sentences that ask for a tool, without a model: sums, notes, lists, files, pages, commands. Pure; English.

A sentence has to fit as a whole, and what it gives is a call as a model would write it: data, to be allowed by
others.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from re import Match

from perslm_runtime.calculator import expression_of
from perslm_runtime.tool_call import ToolCall, Value

_MOST_CHARACTERS = 600
_POLITE = re.compile(
    r"^(?:(?:please|can you|could you|would you|will you|hey|ok|okay|and|perslm)[, ]+)+|[, ]+(?:please|for me|"
    r"thanks|thank you)$",
    re.IGNORECASE,
)
_LIST = r"(?:the |my |our |a )?(?P<list>[\w' -]{1,40}?)[ -]?list"

Arguments = dict[str, Value]


def _named(*names: str) -> Callable[[Match[str]], Arguments]:
    return lambda found: {name: " ".join(found[name].split()) for name in names}


def _everything(_found: Match[str]) -> Arguments:
    return {"about": "everything"}


# The first that fits wins. {"what is on my list"} names no list: that is the shopping list.
_SENTENCES: tuple[tuple[str, str, Callable[[Match[str]], Arguments]], ...] = (
    (r"note ?[:,] ?(?P<text>.{2,})", "note_add", _named("text")),
    (
        r"(?:add|make|write|create|take) (?:a |another )?new note(?: that| saying|:|,)? (?P<text>.{2,})",
        "note_add",
        _named("text"),
    ),
    (r"(?:add|write) a note(?: that| saying| to|:|,)? (?P<text>.{2,})", "note_add", _named("text")),
    (
        r"(?:what are|read(?: me)?(?: out)?|show(?: me)?|tell me|list) (?:all )?(?:of )?my notes",
        "notes_read",
        _everything,
    ),
    (r"what(?: have| did) i noted?(?: down)?", "notes_read", _everything),
    (
        r"(?:what(?: have| did) i noted?(?: down)? about|(?:find|read(?: me)?|show(?: me)?) my notes? "
        r"(?:about|on)) (?P<about>.{2,80})",
        "notes_read",
        _named("about"),
    ),
    (
        r"(?:delete|remove|drop|erase) (?:the|my) note (?:about|on|that says) (?P<text>.{2,})",
        "note_drop",
        _named("text"),
    ),
    (rf"(?:add|put|write) (?P<item>.+?) (?:to|on|onto|in|into) {_LIST}", "list_add", _named("item", "list")),
    (
        rf"(?:what(?:'s| is| do (?:i|we) have)|is there anything) (?:on|in) {_LIST}",
        "list_show",
        _named("list"),
    ),
    (rf"(?:read(?: me)?(?: out)?|show(?: me)?|tell me|give me) {_LIST}", "list_show", _named("list")),
    (r"(?:what(?:'s| is)) on (?:the|my|our) list", "list_show", lambda _: {"list": "shopping"}),
    (
        rf"(?:remove|delete|take|cross|tick|strike|check) (?P<item>.+?)(?: off)? (?:from|off|of|on) {_LIST}",
        "list_remove",
        _named("item", "list"),
    ),
    (rf"(?:clear|empty|delete|wipe) {_LIST}", "list_clear", _named("list")),
    (
        r"(?:what|which) files (?:do i have|are there|have i got)|(?:list|show)(?: me)? my files",
        "files_list",
        lambda _: {},
    ),
    (
        r"(?:read|open|show)(?: me)?(?: out)? (?:the |my )?file (?:called |named )?(?P<file>[\w ./-]{1,90})",
        "file_read",
        _named("file"),
    ),
    (
        r"(?:write|make|create) a (?:new )?file (?:called |named )?(?P<file>[\w./-]{1,90}) "
        r"(?:that says|with|saying)[: ]+(?P<text>.{2,})",
        "file_write",
        _named("file", "text"),
    ),
    (r"add (?P<text>.+?) to (?:the |my )file (?P<file>[\w./-]{1,90})", "file_append", _named("text", "file")),
    (
        r"(?:delete|remove) (?:the |my )file (?:called |named )?(?P<file>[\w ./-]{1,90})",
        "file_remove",
        _named("file"),
    ),
    (
        r"(?:read|open|fetch|summari[sz]e|get|look at|what (?:does|is on)|what's on)(?: me)?"
        r"(?: the (?:page|site|website))?(?: at| of)? "
        r"(?P<url>https?://\S+|[\w-]+(?:\.[\w-]+)*\.[a-z]{2,24}(?:/\S*)?)(?: say| about)?",
        "web_read",
        _named("url"),
    ),
    (r"run (?:the )?command (?P<command>[a-z0-9 _-]{1,41})", "run_command", _named("command")),
    (r"what(?:'s| is) the time in (?P<place>[\w .'-]{2,40})", "time_in", _named("place")),
    (r"what time is it (?:now )?in (?P<place>[\w .'-]{2,40})", "time_in", _named("place")),
    (
        r"how many days (?:is it |are there |are left )?(?:until|till|to) (?P<day>.{3,40})",
        "days_until",
        _named("day"),
    ),
)
_TABLE = tuple((re.compile(pattern, re.IGNORECASE), tool, made) for pattern, tool, made in _SENTENCES)


def call_of(sentence: str) -> ToolCall | None:
    """The call that a sentence asks for, or None. A call may name a list, a city or a file that there is not."""
    if len(sentence) > _MOST_CHARACTERS:
        return None
    said = _without_politeness(sentence.strip().replace("’", "'"))
    if (expression := expression_of(said)) is not None:
        return ToolCall("calculate", {"expression": expression})
    bare = said.rstrip(" .?!")
    for pattern, tool, made in _TABLE:
        if (found := pattern.fullmatch(bare)) is not None:
            arguments = made(found)
            if tool == "time_in":
                arguments["place"] = str(arguments["place"]).lower()
            if arguments.get("list") in ("my", "the", "our", "a"):
                arguments["list"] = "shopping"
            return ToolCall(tool, arguments)
    return None


def _without_politeness(said: str) -> str:
    end = said[len(said.rstrip(" .?!")) :]
    return _POLITE.sub("", said.rstrip(" .?!")) + end
