"""How well a model chooses tools: `python benchmarks/tools.py MODEL...` measures and keeps a table per model.

161 sentences that templates miss (tests/golden/tools.jsonl), by one author, who saw them while making the prompt.
Right is a call that is one of those expected, with every argument that was fixed; a sentence that asks for nothing
has to give none(). Then the whole way: what the router lets through of both sets, chosen by the model.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perslm_runtime.choosing import Form
from perslm_runtime.embed import Embedder
from perslm_runtime.errors import CallRefused
from perslm_runtime.home_tools import CALL_TOKENS, EXAMPLES, HomeNames, home_system, home_text, home_tools
from perslm_runtime.lane import Stop
from perslm_runtime.llama import LlamaOptions
from perslm_runtime.model import ChatModel
from perslm_runtime.router import Route, Router

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests/golden/tools.jsonl"
CHAT = ROOT / "tests/golden/chat.txt"
RESULT = ROOT / "benchmarks/results/tools.json"
MODELS = Path(os.environ.get("PERSLM_MODELS_DIR", Path.home() / ".local/share/perslm/models"))


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence of the golden set; `expect` are the calls that are right, None stands for any value."""

    text: str
    room: str
    expect: list[list[Any]]

    @property
    def kind(self) -> str:
        """The tool that is expected first."""
        return str(self.expect[0][0])

    def names_tool(self, got: list[Any]) -> bool:
        """Whether the right tool was chosen."""
        return any(got[0] == wanted[0] for wanted in self.expect)

    def is_right(self, got: list[Any]) -> bool:
        """Whether the whole call is one of those expected; what is to be remembered may have any words."""
        return any(
            got[0] == wanted[0]
            and (got[0] == "remember" or all(want in {None, have} for want, have in zip(wanted, got, strict=True)))
            for wanted in self.expect
        )


class Chooser:
    """One model with the golden set's home."""

    def __init__(self, model: str, home: HomeNames) -> None:
        options = LlamaOptions(context_tokens=2048)
        self._model = ChatModel(MODELS / model / "model.gguf", options, system="You are PersLM.")
        self._tools, self._system = home_tools(home), home_system(home)
        self._form = Form(self._tools.gbnf, self._tools.forced)
        self.ms: list[float] = []

    def __call__(self, text: str, room: str) -> list[Any]:
        """The call for a sentence: the tool and its arguments; ["refused"] where it was cut off."""
        began = time.perf_counter()
        said = home_text(text, room)
        choice = self._model.choose(Stop(), self._system, EXAMPLES, said, self._form, CALL_TOKENS)
        if choice.head_from == "memory":
            self.ms.append((time.perf_counter() - began) * 1000)
        try:
            call = self._tools.parse(choice.written.text)
        except CallRefused:
            return ["refused"]
        return [call.tool, *call.arguments.values()]

    def close(self) -> None:
        """Free the model."""
        self._model.close()


def measure(model: str) -> dict[str, object]:
    """The table of one model."""
    first, *lines = map(json.loads, GOLDEN.read_text(encoding="utf-8").splitlines())
    golden = [Said(line["say"], line["room"], line["expect"]) for line in lines]
    choose = Chooser(model, HomeNames(**first["home"]))
    got = {said.text: choose(said.text, said.room) for said in golden}
    kinds: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for said in golden:
        row = kinds[said.kind]
        row[0] += 1
        row[1] += said.names_tool(got[said.text])
        row[2] += said.is_right(got[said.text])
        if not said.is_right(got[said.text]):
            print(f"  {said.text!r} in the {said.room}: {got[said.text]}")
    asking = [said for said in golden if said.kind != "none"]
    result: dict[str, object] = {
        "sentences": len(golden),
        "right": round(sum(row[2] for row in kinds.values()) / len(golden), 4),
        "right_tool": round(sum(row[1] for row in kinds.values()) / len(golden), 4),
        "wrong_actions": sum(got[s.text] != ["none"] and not s.is_right(got[s.text]) for s in golden),
        "none_on_talk": f"{kinds['none'][2]} of {kinds['none'][0]}",
        "by_tool": {kind: {"sentences": n, "right_tool": t, "right": r} for kind, (n, t, r) in kinds.items()},
        "behind_the_router": behind_the_router(choose, asking, got),
    }
    result["call_ms_p50"] = round(statistics.median(choose.ms))
    choose.close()
    return result


def behind_the_router(choose: Chooser, asking: list[Said], got: dict[str, list[Any]]) -> dict[str, dict[str, str]]:
    """The two together: which sentences of the commands are carried out right, and which talk acts."""
    embedder = Embedder(MODELS / Embedder.name)
    router = Router(embedder.name)

    def route(text: str) -> Route:
        return router.route(embedder.embed([text], Stop())[0])

    talk = CHAT.read_text(encoding="utf-8").splitlines()
    routes = {text: route(text) for text in [*talk, *(said.text for said in asking)]}
    embedder.close()
    acts = {text for text in talk if routes[text] is not Route.CHAT and choose(text, "living room") != ["none"]}
    for text in sorted(acts):
        print(f"  talk that acts: {text!r} ({routes[text].value})")

    def table(*through: Route) -> dict[str, str]:
        right = [said for said in asking if routes[said.text] in through and said.is_right(got[said.text])]
        return {
            "commands_right": f"{len(right)} of {len(asking)}",
            "talk_that_acts": f"{sum(routes[text] in through for text in acts)} of {len(talk)}",
        }

    return {"command": table(Route.COMMAND), "command_or_ask": table(Route.COMMAND, Route.ASK)}


def main() -> None:
    """Measure the models named on the command line and keep their tables beside the others."""
    kept = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    for model in sys.argv[1:]:
        print(model)
        kept[model] = measure(model)
        print(json.dumps(kept[model], indent=1))
        RESULT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
