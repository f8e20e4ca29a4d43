"""English words that name the same kind of thing or room: "telly" and "TV", "lounge" and "living room".

Pure words; which devices there are is known elsewhere.
"""

from __future__ import annotations

_THINGS = (
    "light lamp bulb lighting",
    "radio wireless",
    "tv television telly tele",
    "heater heating radiator thermostat",
    "blind shade shutter",
    "curtain drape",
    "fan ventilator",
    "plug socket outlet",
    "vacuum hoover robot",
    "machine maker",
    "fridge refrigerator",
    "dryer drier",
    "stereo hifi",
    "ac aircon con",
    "cooker stove hob oven",
    "projector beamer",
    "strip strips led leds",
    "garage carport",
    "couch sofa settee",
    "xmas christmas",
    "mum mom mummy mommy mother",
    "dad daddy father",
    "kid kids child children",
    "pc computer",
    "gate gates",
)
_SAME = {word: line.split()[0] for line in _THINGS for word in line.split()}
_ROOMS = (
    ("living room", "lounge", "sitting room", "front room", "family room", "den"),
    ("bathroom", "washroom", "bath"),
    ("toilet", "loo", "wc", "powder room", "restroom"),
    ("hall", "hallway", "corridor", "entrance hall", "entrance", "entry", "foyer"),
    ("office", "study", "home office", "den"),
    ("attic", "loft"),
    ("basement", "cellar"),
    ("garden", "yard", "backyard", "back garden"),
    ("kids room", "kid's room", "kids' room", "children's room", "childrens room"),
    ("nursery", "baby's room", "baby room"),
    ("utility room", "laundry room", "laundry", "utility"),
    ("pantry", "larder"),
    ("patio", "terrace", "deck"),
    ("porch", "veranda"),
    ("guest room", "spare room", "guest bedroom", "spare bedroom"),
    ("master bedroom", "main bedroom", "primary bedroom"),
    ("dining room", "dining area"),
)
_DEVICES = (
    ("washing machine", "washer"),
    ("tumble dryer", "tumble drier", "dryer", "clothes dryer"),
    ("slow cooker", "crock pot", "crockpot"),
    ("coffee maker", "coffee machine", "espresso machine"),
    ("range hood", "cooker hood", "extractor hood", "stove hood", "kitchen hood"),
    ("fairy lights", "string lights", "twinkle lights"),
    ("electric blanket", "heated blanket", "bed warmer"),
    ("towel rail", "towel warmer", "towel heater", "heated towel rail", "towel radiator"),
    ("fish tank", "aquarium"),
    ("white noise machine", "sound machine", "noise machine"),
    ("hot tub", "jacuzzi"),
    ("christmas tree", "tree lights", "christmas lights", "christmas tree lights"),
    ("air conditioner", "air con", "aircon", "ac", "air conditioning"),
    ("bedside lamp", "bedside light", "nightstand lamp", "nightstand light"),
    ("floor lamp", "standing lamp", "standard lamp"),
    ("ceiling light", "overhead light"),
    ("spotlights", "spots"),
    ("worktop lights", "counter lights", "countertop lights", "under cabinet lights", "under cupboard lights"),
    ("mower", "lawn mower", "lawnmower", "robot mower"),
    ("porch light", "front porch light"),
    ("fridge", "refrigerator"),
    ("television", "tv", "telly"),
    ("soundbar", "sound bar"),
    ("hallway light", "hall light"),
    ("extractor fan", "extractor"),
    ("game console", "games console", "console"),
    ("white noise machine", "white noise"),
)
_RISKY_ENDS = ("ss", "us", "is")


def plain(word: str) -> str:
    """A word as it is compared: without plural, the first of those that mean the same; "Jack's" is not Jack."""
    if word.endswith(("'s", "s'")):
        owner = word[:-2]
        return f"{_SAME.get(owner, owner)}'s"
    word = word.replace("'", "")
    single = word
    if len(word) > 3 and word.endswith("s") and not word.endswith(_RISKY_ENDS):
        single = word[:-3] if word.endswith(("shes", "ches")) else word[:-1]
    return _SAME.get(word, _SAME.get(single, single))


def same_things(word: str) -> frozenset[str]:
    """Every word for the same kind of thing, at least this one."""
    for line in _THINGS:
        if (words := frozenset(line.split())) and word.lower() in words:
            return words
    return frozenset((word.lower(),))


def same_devices(name: str) -> tuple[str, ...]:
    """Other words for a thing of this name, or of a name that ends so: "lounge telly" for the Lounge TV."""
    low = name.lower()
    found: dict[str, None] = {}
    for group in _DEVICES:
        for one in group:
            if low == one or low.endswith(f" {one}"):
                found.update(dict.fromkeys(low.removesuffix(one) + other for other in group if other != one))
                break
    return tuple(found)


def same_rooms(name: str) -> tuple[str, ...]:
    """Other words for a room of this name."""
    low = name.lower()
    return tuple(dict.fromkeys(other for group in _ROOMS if low in group for other in group if other != low))
