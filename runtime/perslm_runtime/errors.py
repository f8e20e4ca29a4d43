"""Every error PersLM raises on purpose: one root, one class per layer.

Each message is a whole sentence that a person can act on; where there is a next step it is
the last clause ("... : run `perslm models pull X`"). `exit_code` is what the command line ends with.
"""

from __future__ import annotations


class PersLMError(Exception):
    """Root of all errors raised on purpose. Anything else that escapes is a bug."""

    exit_code = 1


class ConfigError(PersLMError):
    """A configuration value is wrong; raised once, listing every mistake found."""

    exit_code = 2


class InputError(PersLMError):
    """What the user handed over (text, a file, an argument) cannot be used."""

    exit_code = 3


class CatalogError(PersLMError):
    """A model is unknown, missing, broken, or could not be fetched."""

    exit_code = 4


class BundleRefused(CatalogError):
    """A model bundle, or what is signed about it, is not what it should be: nothing of it is used."""


class EngineError(PersLMError):
    """A native engine could not be loaded or failed during a call."""

    exit_code = 5


class CallRefused(PersLMError):
    """What a model wrote as a tool call is none: cut off, or not what was offered. Nothing was carried out."""

    exit_code = 5


class ToolRefused(PersLMError):
    """A tool is not there, is not allowed, or failed; nothing was changed unless the message says so."""

    exit_code = 10


class PluginRefused(ToolRefused):
    """A plug-in cannot be used, is switched off, or failed; the rest of PersLM goes on without it."""


class PluginFailed(PluginRefused):
    """A plug-in raised, hung, ended or answered nonsense: it may be given up when that goes on."""


class PluginEngineFailed(PluginFailed, EngineError):
    """An engine that is a plug-in failed in a call: the built-in one takes its place."""


class MemoryStoreError(PersLMError):
    """The memory database cannot be opened, read or written."""

    exit_code = 6


class MemoryDamaged(MemoryStoreError):
    """The memory's file is there but is not, or not wholly, what was written to it."""


class BusyError(PersLMError):
    """Two asks are already waiting; this one is refused rather than queued for long."""

    exit_code = 7


class LaneClosed(PersLMError):
    """A lane was used after its block was left, or its engine was given up."""

    exit_code = 5


class LaneHung(PersLMError):
    """A native call ignored its stop past its deadline: only the end of the process ends it.

    Whoever gets it publishes `offline` and leaves through `lane_watch.leave_without_joining`. `lane` and `turn`
    name the lane and the turn it worked for; "" where it worked for none.
    """

    exit_code = 8

    def __init__(self, message: str, *, lane: str = "", turn: str = "") -> None:
        super().__init__(message)
        self.lane, self.turn = lane, turn


class DeviceError(PersLMError):
    """A microphone or loudspeaker is not there, was lost, or is held by another program."""

    exit_code = 9


class Cancelled(PersLMError):
    """A native call stopped early because it was told to (barge-in, Ctrl-C, shutdown)."""

    exit_code = 130
