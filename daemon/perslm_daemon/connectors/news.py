"""The connector `news`: headlines of the feeds that a person has chosen, and what they say of something."""

from __future__ import annotations

from perslm_daemon.connectors.news_feeds import Headline, headlines
from perslm_daemon.connectors.plain_text import ended
from perslm_runtime.plugin import Answer, Argument, Context, Plugin, Problem, Sentence, Setting, Tool

_MOST_SAID = 5
_TELL = "(what's|what is|what are|is there|are there|tell me|read me|give me|read)"


def news(context: Context, about: str = "") -> Answer:
    """The newest headlines, or those about something with what they say."""
    feeds = context.settings["feeds"]
    if not feeds:
        raise Problem("no feed is named: set `feeds` under [news] in the plug-in settings")
    found = headlines(feeds)
    if about:
        words = about.lower().split()
        found = [
            one for one in found if all(word in f"{one.title} {one.about} {one.feed}".lower() for word in words)
        ]
        if not found:
            return Answer(f"The feeds say nothing about {about}.", {"headlines": []})
        first = found[0]
        more = f" {first.about}" if first.about else ""
        rest = [ended(one.title) for one in found[1:3]]
        return Answer(" ".join([f"{first.feed}: {ended(first.title)}{more}", *rest]), _data(found))
    if not found:
        return Answer("The feeds have nothing.", {"headlines": []})
    said = [ended(one.title) for one in found[: context.settings["most"]]]
    return Answer(" ".join(said), _data(found))


def _data(found: list[Headline]) -> dict[str, object]:
    return {
        "headlines": [
            {
                "title": one.title,
                "feed": one.feed,
                "at": one.at.isoformat() if one.at else None,
                "link": one.link,
            }
            for one in found[:20]
        ]
    }


plugin = Plugin(
    name="news",
    about="headlines of RSS and Atom feeds",
    version="1",
    settings=(
        Setting("feeds", "the addresses of the feeds", "urls", ()),
        Setting("most", "how many headlines are told", "whole", _MOST_SAID),
    ),
    tools=(
        Tool(
            "news",
            "the newest headlines, or those about something",
            news,
            (Argument("about", "text", "a word that they have", needed=False),),
            ("web",),
            sends=False,
            sentences=(
                Sentence(
                    (
                        f"{_TELL} [in] (the|my|today's) [latest|newest|today's] (news|headlines) [today]",
                        "(what's|what is) new [in the world|today]",
                        "[any] (news|headlines) [today]",
                        "(is there|are there) [any] news",
                    )
                ),
                Sentence(
                    (
                        f"[{_TELL}] [any|the] [latest] (news|headlines) (about|on|of|from) {{about}}",
                        "what (do|does) the (news|feeds|papers) say about {about}",
                        "what's new (about|with|on|from) {about}",
                    )
                ),
            ),
        ),
    ),
)
