"""The configuration of the memory: what is kept, for how long, and who is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perslm_daemon.config_keys import Choice, OptionalLocation, Secret, Switch, Whole, key


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered."""

    enabled: bool = key(True, Switch(), "remember turns and facts, and recall them")
    remember: bool = key(True, Switch(), "keep what is said; off, a question leaves no trace and recalls nothing")
    guests: bool = key(
        False,
        Switch(),
        "whoever the broker or this machine does not vouch for asks as a guest, who leaves nothing",
    )
    recall_k: int = key(3, Whole(0, 20), "memories put before the model per question")
    profile: bool = key(
        True, Switch(), "put what is known of who asks beside what is recalled, where it is near the question"
    )
    model_facts: str = key(
        "auto",
        Choice(("auto", "on", "off")),
        "have the model read what no rule understands, when idle; auto: with a model of 600 MB or more",
    )
    most_rows: int = key(
        200_000, Whole(0, 10_000_000), "memories beyond which the least worth are erased when idle; 0: no limit"
    )
    most_mb: int = key(
        500, Whole(0, 1_000_000), "megabytes of the file beyond which the least worth are erased; 0: no limit"
    )
    backups: int = key(3, Whole(1, 100), "daily backups kept; each is as large as the memory")
    backup_days: int = key(
        90, Whole(0, 36_500), "days after which an older backup goes when a new one is made; 0: however old"
    )
    encrypt: bool = key(False, Switch(), "encrypt the memory file")
    key_file: Path | None = key(
        None, OptionalLocation(), "file with the key of 32 bytes (64 hexadecimal digits); made when it is missing"
    )
    key_hex: str = key(
        "",
        Secret(r"([0-9a-fA-F]{64})?", '64 hexadecimal digits, or "" for none'),
        "the key itself, where no file can hold it (PERSLM_MEMORY__KEY_HEX)",
    )
