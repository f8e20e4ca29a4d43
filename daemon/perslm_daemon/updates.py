"""Taking signed models: look, bring, try, change over, watch, and go back by itself.

Nothing here judges a signature (`trust`) or loads a model (`update_trial`, and the engines' own change-over). What
it owns is the order of the steps and what each leaves on the disk, so that a plug pulled at any moment ends in a
board that answers. Knows no transport.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread

from perslm_daemon import update_book
from perslm_daemon.bulletin import Bulletin, Happening, Value
from perslm_daemon.changes import Changes
from perslm_daemon.clock import Clock
from perslm_daemon.config_sections import Config
from perslm_daemon.laid_over import model_sha256, rests
from perslm_daemon.stores import open_models
from perslm_daemon.turn import Turn
from perslm_daemon.turns_first import TurnsFirst
from perslm_daemon.update_book import KEYS, Book, Watch, require_kind
from perslm_daemon.update_calm import Calm
from perslm_daemon.update_choice import Board, Found, entity_data, report_data, sorted_out, status_data
from perslm_daemon.update_files import drop_refused, in_use, known_files, tidy
from perslm_daemon.update_host import HostLink, followed
from perslm_daemon.update_mailbox import FOLDER as MAILBOX
from perslm_daemon.update_mailbox import Mailbox
from perslm_daemon.update_proving import Proving
from perslm_daemon.update_watch import Watching
from perslm_runtime import __version__
from perslm_runtime.bundle import Channel, Manifest, channel_path, read_channel
from perslm_runtime.bundles import Bringing, bring, installed, look_up, remove
from perslm_runtime.errors import BundleRefused, CatalogError, InputError, PersLMError
from perslm_runtime.fetch import Progress
from perslm_runtime.lane import Lane, Stop

if TYPE_CHECKING:
    from perslm_runtime.trust import Trust

log = logging.getLogger("perslm.updates")

T = TypeVar("T")

_AFTER_START_S = 60.0  # a start has better things to do than to look for models
_SOON_S = 900.0  # after a look that failed for want of a network
_SETTLED_S = 600.0  # a process that lived so long is no crash loop
_CALM_S = 30.0  # between two looks at a board that was hot, or on its battery


class Updates:
    """The board's side of its training host. `run` is its life; the rest is what people ask of it."""

    def __init__(
        self,
        config: Config,
        bulletin: Bulletin,
        changes: Changes,
        clock: Clock,
        *,
        book: Book,
        board_id: Callable[[], str],
        lanes: Mapping[str, Lane[Any] | None],
        root: Path = Path("/"),
    ) -> None:
        self._config, self._bulletin, self._changes, self._clock = config, bulletin, changes, clock
        self._board_id = board_id
        self._one_at_a_time = anyio.Lock()
        self._book = book
        self._problem = ""
        self._found: Found | None = None
        self._turns = TurnsFirst(config.sync.quiet_s)
        self._proving = Proving(config, book, self._turns, lanes)
        self._watching = Watching()
        self._calm = Calm(config.sync, root)
        self._waits = ""
        self._percent: int | None = None
        self._outcome = anyio.Event()
        self._host = HostLink(config)
        self.mailbox = Mailbox(config.data_dir / MAILBOX, config.sync.over_mqtt_mb * 1_000_000)
        self.followed = followed(config)
        changes.before_force = self._chosen

    # -------------------------------------------------------------- its life

    async def run(self) -> None:
        """Watch what is new, and look for what is newer, until cancelled."""
        await self._after_change_over()
        await _thread(drop_refused, self._config, self._book.refused)
        self._post()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen)
            tasks.start_soon(self._probation)
            if self.followed:
                tasks.start_soon(self._look_again_and_again)
                tasks.start_soon(self._report_outcomes)

    async def _look_again_and_again(self) -> None:
        await anyio.sleep(_AFTER_START_S)
        while True:
            wait_s = self._config.sync.every_h * 3600
            try:
                await self.check(take=self._config.sync.take == "auto" or bool(self._waits))
            except PersLMError as error:
                self._fail(str(error))
                wait_s = min(_SOON_S, wait_s)
            with anyio.move_on_after(wait_s):
                await self._calm_again()

    async def _calm_again(self) -> None:
        """Wait until nothing speaks any more against what waits; for ever where nothing waits."""
        while self._waits == "" or await _thread(self._calm.reason) != "":  # noqa: ASYNC110 - sensors tell nobody
            await anyio.sleep(_CALM_S)

    async def _require_calm(self, name: str) -> bool:
        """Whether the board can spare what comes next; told where it cannot, once for each reason."""
        before, self._waits = self._waits, await _thread(self._calm.reason)
        if self._waits and self._waits != before:
            self._step(name, "waiting", self._waits)
        return not self._waits

    async def _listen(self) -> None:
        """Errors and answers, as they come: what a model on probation is judged by."""
        async with self._bulletin.listen() as notices:
            async for notice in notices:
                if isinstance(notice, Value) and notice.name == "activity":
                    self._turns.activity(str(notice.value))
                elif isinstance(notice, Value) and notice.name == "latency_ms":
                    await self._judged(self._watching.answered(self._book.watch, float(notice.value)))
                elif isinstance(notice, Happening) and notice.event_type == "error":
                    await self._went_wrong(str(notice.fields.get("engine") or ""))

    async def saw(self, turn: Turn) -> None:
        """A turn is over: did it say that the answer before it was wrong?"""
        await self._judged(self._watching.saw(self._book.watch, turn))

    async def _went_wrong(self, engine: str) -> None:
        before = self._book.watch.errors if self._book.watch else 0
        await self._judged(self._watching.went_wrong(self._book.watch, engine))
        if self._book.watch is not None and self._book.watch.errors > before:
            await self._keep_book()

    async def _judged(self, why: str) -> None:
        """Go back where the watch says so."""
        if why and self._book.watch is not None:
            await self._go_back(self._book.watch, why)

    async def _probation(self) -> None:
        """Let a model that did well stay for good."""
        settled_at = anyio.current_time() + _SETTLED_S
        while True:
            watch = self._book.watch
            if watch is not None:
                if watch.starts and anyio.current_time() > settled_at:
                    watch.starts = 0
                    await self._keep_book()
                if self._clock.wall_s() - watch.since_s >= self._config.sync.watch_h * 3600:
                    await self._stays(watch)
            await anyio.sleep(min(60.0, max(0.05, self._config.sync.watch_h * 3600 / 10)))

    async def _stays(self, watch: Watch) -> None:
        self._book.watch = None
        self._step(watch.name, "kept", "")
        await self._keep_book()
        await _thread(tidy, self._config, {*self._all_in_use().values(), *self._book.former.values()})

    async def _chosen(self, values: Mapping[str, object]) -> None:
        if update_book.chosen(self._book, self._all_in_use(), values):
            await self._keep_book()

    async def _after_change_over(self) -> None:
        """The engines are as they are: is the model on probation the one that runs?"""
        watch = self._book.watch
        if watch is None:
            return
        if self._in_use(watch.kind) == watch.name:
            watch.running = True
            await self._keep_book()
            return
        # What was named did not start, and the daemon took it back by itself.
        why = "its engine could not be started with it"
        self._book.watch = None
        self._book.refused = {**self._book.refused, watch.name: why}
        self._step(watch.name, "rolled_back", why)
        await self._keep_book()

    # -------------------------------------------------------------- what people ask

    @property
    def takes_chunks(self) -> bool:
        """Whether a host's files may come over MQTT."""
        return self._config.sync.over_mqtt_mb > 0

    def status(self) -> dict[str, Any]:
        """What is in use, on probation, offered, refused and pinned, and the latest steps."""
        return status_data(self._book, self._found, self._all_in_use(), self._problem, self._waits)

    async def check(self, *, take: bool) -> dict[str, Any]:
        """Look at the mirrors; with `take`, take what is offered. Returns the status. Raises `PersLMError`."""
        if not self.followed:
            raise InputError("no training host is followed: `perslm sync enroll URL` (docs/updates.md)")
        try:
            async with self._one_at_a_time:
                trust, found = await self._thread_with_stop(self._look)
                self._found, self._problem = found, ""
                self._book.checked_s = self._clock.wall_s()
                await self._keep_book()
                for name in found.retracted:
                    await self._retract(name)
                if not found.wanted:
                    self._waits = ""
                if take:
                    for manifest in found.wanted:
                        if await self._take(trust, manifest):
                            break  # the daemon changes over, and what else there is comes after its probation
                    await _thread(self.mailbox.clear)
            self._post()
            await self._report()
        finally:
            self._host.rest()
        return self.status()

    async def roll_back(self, kind: str) -> str:
        """Go back to the model that was there before, by hand; returns its name. Raises `InputError`."""
        require_kind(kind)
        book = self._book
        former = book.watch.former if book.watch and book.watch.kind == kind else book.former.get(kind)
        if former in (None, now := self._in_use(kind)):
            raise InputError(f"there is no former model to go back to for {kind}")
        watch = book.watch if book.watch and book.watch.name == now else Watch(now, kind, former, 0.0)
        await self._go_back(watch, "somebody asked for the former one")
        return former

    async def pin(self, kind: str, *, on: bool) -> None:
        """Keep the model of a kind as it is, whatever is offered; or let it follow again."""
        require_kind(kind)
        pinned = {name: model for name, model in self._book.pinned.items() if name != kind}
        self._book.pinned = {**pinned, **({kind: self._in_use(kind)} if on else {})}
        await self._keep_book()
        self._post()

    # -------------------------------------------------------------- the steps

    def _look(self, stop: Stop) -> tuple[Trust, Found]:
        trust = self._host.follow(self._clock.wall_s, stop)
        trust.refresh()
        channel = read_channel(trust.read(channel_path(self._config.sync.channel)))
        return trust, self._sorted_out(trust, channel)

    def _sorted_out(self, trust: Trust, channel: Channel) -> Found:
        """What of a channel this board takes, and why not the rest."""
        here = {one.name: one for one in installed(self._config.models_dir)}
        store = open_models(self._config)
        board = Board(
            self._config.profile,
            __version__,
            self._config.board.budget_mb or None,
            model_sha256(self._config, store),
            self._config.stt.language.partition("-")[0],
        )
        offered = [look_up(trust, bundle, version) for bundle, version in channel.for_board(self._board_id())]
        wanted, not_taken = sorted_out(offered, self._in_use, here, self._book, board)
        resting = self._config.model.adapter
        if resting in here and (why := rests(self._config, store)):
            not_taken[resting] = f"it rests: {why}"
        return Found(wanted, not_taken, channel.retracted)

    async def _take(self, trust: Trust, manifest: Manifest) -> bool:
        """Bring, try and change over to one bundle; whether it is in use now.

        What is wrong with it is told and ends nothing else.
        """
        name = manifest.name
        try:
            if not await self._require_calm(name):
                return False
            self._step(name, "downloading", "")
            await self._thread_with_stop(partial(self._bring, trust, manifest))
            self._percent = None
            if not await self._require_calm(name):  # bringing took its time, and what is here stays
                return False
            await self._turns.idle()
            self._step(name, "trying", "")
            outcome = await self._proving.prove(manifest)
            log.info("tried name=%s right=%d/%d", name, outcome.right, outcome.asked)
            self._book.note_trial(name, outcome.figures())
            await self._turns.idle()
            await self._change_over(manifest)
            return True
        except BundleRefused as error:
            self._book.refused = {**self._book.refused, name: str(error)}
            self._step(name, "refused", str(error))
            await self._keep_book()
            await _thread(remove, self._config.models_dir, name)
            await self._proving.restore()
        except CatalogError as error:
            self._fail(str(error))
            self._step(name, "failed", str(error))
            await self._proving.restore()
        finally:
            self._percent = None
            self._post()
        return False

    def _bring(self, trust: Trust, manifest: Manifest, stop: Stop) -> None:
        from perslm_runtime.delta import apply  # noqa: PLC0415 - numpy and zstandard wait for the first update

        how = Bringing(
            report=partial(self._arrived, stop),
            stop=stop,
            bytes_per_s=self._config.sync.rate_kb_s * 1000,
            apply=apply,
            known=known_files(self._config),
        )
        bring(trust, manifest, self._config.models_dir, how)

    async def _change_over(self, manifest: Manifest) -> None:
        """Name the new model. The daemon changes its engine between two turns, where this object's life ends."""
        former = self._in_use(manifest.kind)
        self._book.former = {**self._book.former, manifest.kind: former}
        self._book.watch = Watch(
            manifest.name,
            manifest.kind,
            former,
            self._clock.wall_s(),
            running=True,
            before_ms=self._watching.before_ms(),
        )
        self._step(manifest.name, "in_use", "")
        if not await self._keep_book():  # without the way back on the disk, nothing is changed
            self._book.watch = None
            raise CatalogError(f"{manifest.name} is here and waits for room on the disk")
        try:
            await self._changes.set(KEYS[manifest.kind], manifest.name)
        except PersLMError as error:
            self._book.watch = None
            raise BundleRefused(f"{manifest.name} cannot be named: {error}") from error

    async def _go_back(self, watch: Watch, why: str) -> None:
        """Back to the former model: durable first, then in force."""
        log.warning("going_back from=%s to=%s reason=%s", watch.name, watch.former, why)
        self._step(watch.name, "rolled_back", why)
        try:
            await _thread(update_book.go_back, self._config.data_dir, self._book, watch, why)
        except OSError as error:
            self._fail(f"{watch.former} cannot be named again ({error.strerror}): make room on the disk")
            return
        self._bulletin.tell("warning", message=f"{watch.former} is back instead of {watch.name}: {why}")
        self._changes.reload()

    async def _retract(self, name: str) -> None:
        kind = next((kind for kind in KEYS if self._in_use(kind) == name), None)
        if kind is None or name in self._book.refused:
            return
        watch = self._book.watch
        former = watch.former if watch and watch.name == name else self._book.former.get(kind)
        if former is not None:
            await self._go_back(Watch(name, kind, former, 0.0), "its host took it back")

    # -------------------------------------------------------------- inside

    async def _report(self) -> None:
        """Tell the host how this board is."""
        now, latency_ms = self._bulletin.current(), self._watching.latency_ms
        told = report_data(self._book, self._all_in_use(), self._config.profile, now, latency_ms)
        await _thread(self._host.report, told)

    async def _report_outcomes(self) -> None:
        """Tell the host at once how a model did: it stops a roll-out that fails."""
        while True:
            await self._outcome.wait()
            self._outcome = anyio.Event()
            await self._report()

    def _all_in_use(self) -> dict[str, str]:
        return in_use(self._config)

    def _in_use(self, kind: str) -> str:
        return in_use(self._config)[kind]

    def _arrived(self, stop: Stop, progress: Progress) -> None:
        """Called in the downloading thread: a number is all it leaves, and it waits while somebody is answered."""
        if progress.total_bytes:
            self._percent = min(99, progress.done_bytes * 100 // progress.total_bytes)
        self._turns.hold(stop)

    def _step(self, name: str, step: str, why: str) -> None:
        self._book.note(name, step, why)
        told = {"message": why} if why else {}
        self._bulletin.tell("update", step=step, name=name, **told)
        if step in ("kept", "rolled_back", "refused"):
            self._outcome.set()
        self._post()

    def _fail(self, problem: str) -> None:
        if problem != self._problem:
            self._bulletin.tell("warning", message=f"updates: {problem}")
        self._problem = problem

    def _post(self) -> None:
        """The value `update`, as Home Assistant's update entity reads it; a board without a host has none."""
        if not self.followed:
            return
        self._bulletin.post("update", entity_data(self._found, self._book, self._all_in_use(), self._percent))

    async def _keep_book(self) -> bool:
        """Keep what is known; a disk that takes no more is told. Returns whether it was kept."""
        try:
            await _thread(update_book.write, self._config.data_dir, self._book)
        except OSError as error:
            self._fail(f"their state cannot be kept ({error.strerror}): make room on the disk")
            return False
        return True

    async def _thread_with_stop(self, work: Callable[[Stop], T]) -> T:
        """Run what blocks for long; cancelling stops it and waits for it. Progress is posted meanwhile."""
        stop = Stop()
        result: list[T] = []
        failed: list[PersLMError] = []  # raised outside the group, which would wrap it
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._accompany, stop)
            try:
                result.append(await anyio.to_thread.run_sync(work, stop))
            except PersLMError as error:
                failed.append(error)
            tasks.cancel_scope.cancel()
        if failed:
            raise failed[0]
        return result[0]

    async def _accompany(self, stop: Stop) -> None:
        shown: int | None = None
        try:
            while True:
                await anyio.sleep(0.5)
                if self._percent != shown:
                    shown = self._percent
                    self._post()
        finally:
            stop.set()


async def _thread(function: Callable[..., T], *args: Any) -> T:
    return await anyio.to_thread.run_sync(partial(function, *args))
