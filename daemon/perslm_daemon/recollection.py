"""What a turn takes out of the memory and leaves in it, and what is done for the memory when nobody waits.

Knows people and engines, no turn's course (pipeline.py). A guest takes nothing out and leaves nothing.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from contextlib import suppress

import anyio
import anyio.to_thread

from perslm_daemon import engine_calls
from perslm_daemon.guests import Guests
from perslm_daemon.profiles import Profiles
from perslm_daemon.reading import Reading
from perslm_daemon.turn import GUEST, Ask, Parts, Vector
from perslm_runtime.embed_static import AnyEmbedder
from perslm_runtime.errors import InputError, MemoryStoreError, PersLMError
from perslm_runtime.known_lines import Line
from perslm_runtime.lane import Lane
from perslm_runtime.memory import Memory, Recalled
from perslm_runtime.memory_backup import Keep
from perslm_runtime.memory_erase import Wanted
from perslm_runtime.memory_forget import Forgetting
from perslm_runtime.memory_prune import Budget
from perslm_runtime.recall import blended

log = logging.getLogger("perslm.memory")

_TIDY_EVERY_S = 600.0
TELLS = re.compile(
    r"\s*(?:please[, ]+)?remember(?P<all>,? for (?:all of us|everybody|everyone|the (?:whole )?family|us all),?)?"
    r"(?:\s+that|:|,)?\s+(?P<fact>.{3,})",
    re.IGNORECASE | re.DOTALL,
)


class Recollection:
    """The memory of `parts` as turns and verbs use it; vectors come from the embedder called `embedder`."""

    def __init__(self, parts: Parts, embedder: str, budget: Budget, keep: Keep) -> None:
        self._parts, self._embedder, self._budget, self.keep = parts, embedder, budget, keep
        self._tidied: float | None = None
        self.remembering = True
        """Whether turns are remembered and recalled; switched off, a question leaves no trace."""
        self.only_guests = False
        """Whether everybody asks as a guest for whom neither the broker nor this machine vouches."""
        self.guests = Guests()
        self.profiles = Profiles(parts)
        self.reading = Reading(parts)
        self.embedder_now: Callable[[], str] = lambda: embedder
        """The embedder that is in use: the built-in one may have taken a plug-in's place."""
        self.gives_lines = True
        """Whether what is known of who asks goes before the model beside what is recalled."""
        self.copies = anyio.Lock()
        """Held while backups are made or erased in: one that is made may push out one that is open."""

    @property
    def lane(self) -> Lane[Memory]:
        """The memory. Raises `MemoryStoreError` where there is none."""
        if self._parts.memory is None:
            raise MemoryStoreError("the memory is switched off: set memory.enabled=true")
        return self._parts.memory

    def asker(self, person: str, *, vouched: bool) -> str:
        """Who asks, where `person` says so of themselves or is `vouched` for."""
        return GUEST if self.only_guests and not vouched else person

    def serves(self, person: str) -> bool:
        """Whether turns of this person are remembered and recalled."""
        return self._parts.memory is not None and self.remembering and person != GUEST

    async def embed(self, text: str) -> Vector | None:
        """The text's vector; None where there is no embedder."""
        if self._parts.embed is None:
            return None
        vector: Vector = (await self._vectors(self._parts.embed, [text]))[0]
        return vector

    async def _vectors(self, embed: Lane[AnyEmbedder], texts: list[str]) -> Vector:
        """Vectors of texts; where another embedder made them than those in the memory, those are dropped first."""
        vectors: Vector = await embed.call(engine_calls.embed, texts)
        if (now := self.embedder_now()) != self._embedder and self._parts.memory is not None:
            self._embedder = now
            self.profiles.forget()
            await self.lane.call(engine_calls.set_vectors, [], now)
        return vectors

    async def looking(self, text: str, person: str) -> tuple[Vector | None, Vector | None]:
        """A question's own vector, and the one to look by, which knows other words for whom it names."""
        if self._parts.embed is None:
            return None, None
        others = await self.lane.call(engine_calls.rewordings, text, person)
        vectors = await self._vectors(self._parts.embed, [text, *others])
        return vectors[0], blended(vectors)

    async def lines(self, text: str, vector: Vector | None, person: str) -> tuple[Line, ...]:
        """What is known of who asks that is near the question; none for a guest, and none in trouble."""
        if self.gives_lines and self.serves(person):
            with suppress(PersLMError):  # the turn's own recall has told of it
                return await self.profiles.near(text, vector, person)
        return ()

    async def remember_turn(
        self, ask: Ask, reply: str, vector: Vector | None, model_id: str, *, interrupted: bool, source: str = ""
    ) -> int:
        """Store a turn, and the fact in "remember that …"; durable when it returns. `source` names the tools
        used.
        """
        told = TELLS.match(ask.text)
        if told is not None:
            await self.remember(told["fact"].strip(), ask.person, shared=told["all"] is not None)
        return await self.lane.call(engine_calls.remember, ask, reply, vector, interrupted, model_id, source)

    async def recent(self, ask: Ask) -> list[tuple[str, str]]:
        """The last (question, reply) pairs of the conversation, as far as they are the asker's; [] in trouble."""
        if ask.person == GUEST:
            return self.guests.recent(ask.conversation)
        if self._parts.memory is None:
            return []
        with suppress(PersLMError):  # the turn's own recall has told of it
            return await self.lane.call(engine_calls.recent, ask.conversation, ask.person)
        return []

    async def remember(
        self, text: str, person: str = "owner", *, shared: bool = False, source: str = "told"
    ) -> int:
        """Store a fact durably, findable by its words and its meaning; returns its id."""
        if person == GUEST:
            raise InputError("nothing is remembered for a guest: ask as somebody who is known")
        vector = await self.embed(text)
        return await self.lane.call(engine_calls.remember_fact, text, person, vector, shared, source)

    async def recall(self, text: str, k: int, person: str = "owner") -> list[Recalled]:
        """At most `k` memories that answer `text`, best first; none for a guest."""
        return [] if person == GUEST else (await self.found(text, k, person))[1]

    async def found(self, text: str, k: int, person: str) -> tuple[Vector | None, list[Recalled]]:
        """A question's own vector, and at most `k` memories that answer it, best first."""
        vector, by = await self.looking(text, person)
        return vector, await self.lane.call(engine_calls.recall, text, by, k, person)

    async def forget_in_copies(self, wanted: Wanted) -> Forgetting:
        """Choose what is wanted, and erase it from backups and other copies; the memory goes on meanwhile.

        Hold `copies`. It takes seconds where there are many memories, in a thread that cancelling waits for.
        """
        forgetting = await self.lane.call(engine_calls.choose_forgotten, wanted)
        await anyio.to_thread.run_sync(forgetting.in_copies)
        return forgetting

    async def tidy(self) -> None:
        """See to what idle time is for; the next ask may cancel it between two steps.

        Read what new memories tell, compute missing vectors; and now and then (`_TIDY_EVERY_S`) learn changed
        files, summarise, prune, back up.
        """
        if self._parts.memory is None:
            return
        while await self.lane.call(engine_calls.look_at_new):
            pass
        await self._fill_vectors()
        await self.reading.read()
        await self.profiles.refresh()
        now = anyio.current_time()
        if self._tidied is not None and now - self._tidied < _TIDY_EVERY_S:
            return
        if await self.lane.call(engine_calls.learn_again):
            await self._fill_vectors()
        while await self.lane.call(engine_calls.summarise):
            pass
        if pruned := await self.lane.call(engine_calls.prune, self._budget):
            log.info("memory_pruned count=%d", pruned)
        async with self.copies:
            await self.lane.call(engine_calls.back_up, self.keep)
        self._tidied = now

    async def _fill_vectors(self) -> None:
        embed = self._parts.embed
        if embed is None:
            return
        while missing := await self.lane.call(engine_calls.missing_vectors):
            vectors = await self._vectors(embed, [text for _, text in missing])
            pairs = list(zip((number for number, _ in missing), vectors, strict=True))
            await self.lane.call(engine_calls.set_vectors, pairs, self._embedder)
