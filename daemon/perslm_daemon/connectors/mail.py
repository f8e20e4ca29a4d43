"""The connector `mail`: what is new in a mailbox, what somebody wrote, and mails that are sent after a yes.

Reads over IMAP without marking anything, sends over SMTP to people that the settings name. A plug-in as any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from perslm_daemon.connectors import mail_out
from perslm_daemon.connectors.mail_box import Mail, found
from perslm_daemon.connectors.plain_text import ended, plain
from perslm_runtime.plugin import (
    Answer,
    Argument,
    Context,
    Notice,
    Plugin,
    Problem,
    Sentence,
    Setting,
    Then,
    Tool,
)
from perslm_runtime.time_words import say_clock, say_day

_MOST_SAID = 4
_READ_CHARS = 700


def new(context: Context, who: str = "", about: str = "") -> Answer:
    """What was not read yet, by whom and about what."""
    mails = found(context, who=who, about=about)
    of = (f" from {who}" if who else "") + (f" about {about}" if about else "")
    if not mails:
        return Answer(f"You have no new mail{of}.", {"mails": []})
    count = "a new mail" if len(mails) == 1 else f"{len(mails)} new mails"
    said = [f"{one.sender}: {one.subject}" for one in mails[:_MOST_SAID]]
    more = f", and {len(mails) - _MOST_SAID} more" if len(mails) > _MOST_SAID else ""
    told = f"{'; '.join(said)}{more}"
    return Answer(f"You have {count}{of}. {ended(told)}", {"mails": [_data(one) for one in mails]})


def read(context: Context, who: str = "", about: str = "") -> Answer:
    """The words of the newest mail, of somebody or about something."""
    mails = found(context, unseen=False, who=who, about=about, days=90, most=1, text=True)
    if not mails:
        of = (f" from {who}" if who else "") + (f" about {about}" if about else "")
        return Answer(f"I find no mail{of} in the last three months.", {"mails": []})
    mail = mails[0]
    text = plain(mail.text, _READ_CHARS) or "It has no words."
    return Answer(
        f"{mail.sender} wrote {_when(mail, context.now)}: {ended(mail.subject)} {text}", {"mails": [_data(mail)]}
    )


def write(context: Context, to: str, text: str, subject: str = "") -> Answer:
    """Put a mail together, and ask whether it is to be sent."""
    person = mail_out.meant(context, to)
    words = text[:1].upper() + text[1:]
    arguments = {"to": person.address, "text": words} | ({"subject": subject} if subject else {})
    asked = f"Shall I send {person.name} the mail: {words}"
    return Answer(asked, {"to": person.address}, Then("send", arguments))


def send(context: Context, to: str, text: str, subject: str = "") -> Answer:
    """Send it."""
    known = {one.address.lower() for one in mail_out.people(context)}
    if known and context.settings["only_people"] and to.lower() not in known:
        raise Problem(f"{to} is not among `people`, and only to those I send")
    made = mail_out.send(context, to, subject or _subject(text), text)
    return Answer("The mail is sent.", {"message_id": made})


def watch(context: Context) -> Sequence[Notice]:
    """New mail of those who are to be told of."""
    wanted = [name.lower() for name in context.settings["tell_of"]]
    if not wanted:
        return ()
    return [
        Notice(f"{context.settings['folder']} {mail.uid} {mail.date.isoformat()}", _told(mail))
        for mail in found(context, days=2, most=50)
        if any(name in (f"{mail.name} {mail.address}").lower() or name == "everybody" for name in wanted)
    ]


def _told(mail: Mail) -> str:
    return ended(f"New mail from {mail.sender}: {mail.subject}")


def _subject(text: str) -> str:
    words = text.split()
    return " ".join(words[:8]) + ("…" if len(words) > 8 else "")


def _when(mail: Mail, now: datetime) -> str:
    local = mail.date.astimezone(now.tzinfo)
    days = (now.date() - local.date()).days
    if 0 <= days < 2:
        return f"{('today', 'yesterday')[days]} at {say_clock(local)}"
    return say_day(local, local.replace(year=local.year - 1))


def _data(mail: Mail) -> dict[str, object]:
    return {
        "from": mail.address,
        "name": mail.name,
        "subject": mail.subject,
        "date": mail.date.isoformat(),
        "seen": mail.seen,
        **({"text": mail.text} if mail.text else {}),
    }


_MAIL = "(mail|mails|email|emails|e mail|e mails|messages)"
_ONE = "(mail|email|e mail|message)"
_HAVE = "(do i have|have i got|is there|are there)"
_SAYS = "(saying|that says|and say|with the text|with the words) [that]"
_WHO = Argument("who", "text", "a name or address of the sender", needed=False)
_ABOUT = Argument("about", "text", "words of the subject", needed=False)

plugin = Plugin(
    name="mail",
    about="a mailbox: what is new, what somebody wrote; mails that are sent after a yes",
    version="1",
    settings=(
        Setting("imap", "the mail server: imaps://mail.example.org", "url"),
        Setting("user", "user on the mail server"),
        Setting("password", "the password; an app password where the server has such", "secret"),
        Setting("folder", "the folder that is read", "text", "INBOX"),
        Setting("smtp", "where mails are sent by: smtps://mail.example.org; none: nothing is sent", "url"),
        Setting("address", "the address that mails are sent from; none: `user`"),
        Setting("people", 'those whom mails may be sent to by name: ["Ana <ana@example.org>"]', "list", ()),
        Setting("only_people", "send to nobody else", "switch", True),
        Setting("tell_of", 'names or addresses whose new mail is told at once; "everybody" is all', "list", ()),
    ),
    tools=(
        Tool(
            "new",
            "what mail there is that was not read yet",
            new,
            (_WHO, _ABOUT),
            ("mail",),
            sends=False,
            sentences=(
                Sentence(
                    (
                        f"{_HAVE} [any] [new|unread] {_MAIL} from {{who}} about {{about}}",
                        f"{_HAVE} [any] [new|unread] {_MAIL} from {{who}}",
                        f"{_HAVE} [any] [new|unread] {_MAIL} about {{about}}",
                        f"[{_HAVE}] (any [new|unread]|new|unread) {_MAIL} [today|for me]",
                        f"any [new|unread] {_MAIL} from {{who}}",
                        f"any [new|unread] {_MAIL} about {{about}}",
                        f"(check|what's in|what is in|read) my {_MAIL}",
                        "(did|has) {who} (write|written|mail|mailed|email|emailed) [to] [me]",
                        f"what {_MAIL} (do i have|did i get|have i got)",
                    )
                ),
            ),
        ),
        Tool(
            "read",
            "the words of the newest mail",
            read,
            (_WHO, _ABOUT),
            ("mail",),
            sends=False,
            sentences=(
                Sentence(
                    (
                        f"read [me] [my|the] (newest|latest|last|new) {_ONE} from {{who}} about {{about}}",
                        f"read [me] [my|the] [newest|latest|last|new] {_ONE} from {{who}}",
                        f"read [me] [my|the] [newest|latest|last|new] {_ONE} about {{about}}",
                        f"read [me] [my|the] (newest|latest|last|new) {_ONE}",
                        f"what (did|does) {{who}} (write|say) [in (his|her|their|the) [last] {_ONE}]",
                    )
                ),
            ),
        ),
        Tool(
            "write",
            "put a mail together and ask whether to send it",
            write,
            (
                Argument("to", "text", "a name among the people of the settings, or an address"),
                Argument("text", "text", "what the mail says"),
                Argument("subject", "text", "its subject", needed=False),
            ),
            ("mail",),
            offered=False,
            sends=False,
            sentences=(
                Sentence(
                    (
                        f"(send|write) [a|an] [new] {_ONE} to {{to}} {_SAYS} {{text}}",
                        f"(send|write) {{to}} [a|an] {_ONE} {_SAYS} {{text}}",
                        "(mail|email|e mail) {to} (saying|that|and say) [that] {text}",
                    )
                ),
            ),
        ),
        Tool(
            "send",
            "send a mail",
            send,
            (
                Argument("to", "text", "an address"),
                Argument("text", "text", "what the mail says"),
                Argument("subject", "text", "its subject", needed=False),
            ),
            ("mail",),
            ("mail",),
            "send {to} the mail {text}",
            asks=True,
            sends=True,
        ),
    ),
    watch=watch,
    watch_s=120,
)
