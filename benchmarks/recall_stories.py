"""Development dialogues: a year and a half of somebody's family and home, made from a seed.

The weights of recall.py are chosen on these alone. The test dialogues (bench_stories.py) were written apart: other
templates, other names, other topics. Whoever changes one does not look at the other.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

from perslm_daemon.bench_dialogue import Dialogue, Story

START = datetime(2024, 3, 4, tzinfo=UTC)  # a Monday
DAYS = 560
_NAMES = [
    "Ana",
    "Lukas",
    "Miriam",
    "Pavel",
    "Greta",
    "Henrik",
    "Olga",
    "Samuel",
    "Petra",
    "Viktor",
    "Clara",
    "Anton",
    "Helena",
    "Jakob",
    "Nina",
    "Felipe",
    "Rosa",
    "Emil",
    "Tilda",
    "Marek",
]
_KIN = (
    "sister",
    "brother",
    "aunt",
    "uncle",
    "cousin",
    "mother",
    "father",
    "nephew",
    "niece",
    "daughter",
    "son",
    "wife",
)
_FRIENDS = ("neighbour", "colleague", "friend", "landlord")
_OK = (
    "I see.",
    "Noted.",
    "Thank you for telling me.",
    "That sounds good.",
    "All right.",
    "Oh, really?",
    "Understood.",
)

# what: (values, ways to tell it with {who} and {v}, ways to tell it after the name was said, ways to ask)
_FACTS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "work": (
        (
            "a nurse at the clinic",
            "a bus driver",
            "a baker",
            "a tax adviser",
            "a welder in the shipyard",
            "a vet",
            "a piano tuner",
            "a gardener in the castle park",
            "a court clerk",
            "a dentist",
            "a surveyor",
            "a chef",
        ),
        ("{who} found a job as {v}.", "{who} is {v} now.", "Guess what, {who} has become {v}."),
        ("Works as {v}, long hours.", "The new job: {v}."),
        ("What does {who} do for a living?", "What is {who}'s occupation?", "How does {who} earn money?"),
    ),
    "city": (
        (
            "Graz",
            "Porto",
            "Bergen",
            "Lyon",
            "Utrecht",
            "Gdansk",
            "Seville",
            "Tartu",
            "Brno",
            "Cork",
            "Malmö",
            "Trieste",
        ),
        ("{who} rents a flat in {v}.", "{who} settled down in {v}.", "{who} has a place in {v} with a balcony."),
        ("The flat is in {v}, near the river.", "Home is {v} these days."),
        (
            "Where does {who} live?",
            "In which town is {who} at home?",
            "Which city should I drive to if I visit {who}?",
        ),
    ),
    "pet": (
        (
            "a parrot called Coco",
            "a dachshund called Waldi",
            "two guinea pigs",
            "a tortoise named Speedy",
            "a grey cat",
            "a rabbit called Hops",
            "an old pony",
            "a canary",
            "a husky",
            "three hens",
            "a ferret",
            "a goldfish",
        ),
        ("{who} took in {v}.", "{who} has {v} at home.", "There is {v} at {who}'s place."),
        ("It's {v}, very funny.", "So now there is {v} in the house."),
        ("Which animal does {who} keep?", "What pet lives with {who}?", "Does {who} own an animal, and which?"),
    ),
    "food": (
        (
            "peanuts",
            "shellfish",
            "strawberries",
            "celery",
            "eggs",
            "kiwi",
            "soy",
            "hazelnuts",
            "mustard",
            "sesame",
        ),
        (
            "{who} gets a rash from {v}.",
            "{who} is allergic to {v}.",
            "{who} must never eat {v}, it ends in hospital.",
        ),
        ("Anything with {v} is dangerous there.", "The doctor said: no {v}."),
        (
            "Which allergy does {who} have?",
            "What must I keep off the table when {who} comes to dinner?",
            "What food makes {who} ill?",
        ),
    ),
    "birthday": (
        (
            "the third of March",
            "the ninth of May",
            "the twentieth of June",
            "the first of August",
            "October the second",
            "the eleventh of November",
            "the last day of January",
            "December the sixth",
            "the fourteenth of April",
        ),
        ("{who} has a birthday on {v}.", "{who} was born on {v}.", "We celebrate {who} on {v}."),
        ("The birthday is {v}.", "Born on {v}, by the way."),
        ("When is {who}'s birthday?", "On what date should I congratulate {who}?", "When was {who} born?"),
    ),
    "sport": (
        (
            "fencing",
            "rowing",
            "judo",
            "badminton",
            "rock climbing",
            "handball",
            "archery",
            "table tennis",
            "skating",
        ),
        ("{who} trains {v} twice a week.", "{who} has joined a club for {v}.", "{who} is mad about {v}."),
        ("It's {v} every week now.", "The club does {v}, quite seriously."),
        (
            "Which sport does {who} practise?",
            "What does {who} do to keep fit?",
            "What kind of training does {who} go to?",
        ),
    ),
    "gift": (
        (
            "a telescope",
            "a leather wallet",
            "a set of watercolours",
            "a fountain pen",
            "a globe",
            "a kite",
            "a chess set",
            "a hammock",
            "a cookbook about soups",
            "a silver bracelet",
            "a music box",
            "a harmonica",
        ),
        ("I gave {who} {v}.", "I bought {v} for {who}.", "{who} got {v} from me."),
        ("I wrapped {v} for that birthday.", "The present was {v}, a success."),
        (
            "What did I give {who} as a present?",
            "What was my present for {who}?",
            "Which gift did {who} get from me?",
        ),
    ),
    "size": (
        ("thirty eight", "forty one", "forty three", "thirty six", "forty five", "thirty nine", "forty"),
        ("{who} wears shoes in size {v}.", "{who} needs shoe size {v}."),
        ("The shoe size is {v}.", "Size {v} fits, I tried."),
        ("What is {who}'s shoe size?", "Which size do I take when I buy boots for {who}?"),
    ),
}

_EVENTS: tuple[tuple[str, str, str], ...] = (
    ("I repaired the gutter with {who}.", "We fixed it in two hours.", "house"),
    ("I took the train to see {who}.", "It was late again.", "trip"),
    ("We baked plum cake with {who}.", "It burnt a little.", "kitchen"),
    ("I had my teeth cleaned.", "No holes.", "health"),
    ("{who} and I went to the flea market.", "I found an old lamp.", "out"),
    ("I painted the cellar door green.", "It needs another coat.", "house"),
    ("The plumber came about the boiler.", "He wants to come again.", "house"),
    ("We watched a play about sailors with {who}.", "A bit long.", "out"),
    ("I planted two apple trees behind the shed.", "The soil is hard.", "garden"),
    ("I got a parking ticket in front of the bank.", "Forty euros!", "car"),
    ("{who} stayed for lunch.", "We had dumplings.", "kitchen"),
    ("I ran ten kilometres in the park.", "My knee hurts.", "sport"),
    ("I cleaned out the attic and found my old stamps.", "So much dust.", "house"),
    ("We buried a time capsule with {who}.", "Under the birch.", "garden"),
    ("I sold the old sofa to a student.", "For sixty euros.", "house"),
    ("The school concert with {who} was today.", "They played Haydn.", "out"),
)
_SMALL = (
    "What's the weather going to be like?",
    "Set a timer for ten minutes.",
    "How many grams are in an ounce?",
    "Tell me a joke.",
    "I slept badly.",
    "It's raining again.",
    "I'm so tired of this week.",
    "How do you spell rhythm?",
    "The soup was too salty.",
    "What is the tallest mountain in Africa?",
    "I have to hang up the washing.",
    "Traffic was awful today.",
    "Play something calm.",
    "The neighbours are loud.",
    "My coffee is cold.",
    "Turn off the kitchen light.",
    "I should drink more water.",
    "What's seventeen times six?",
    "Who wrote War and Peace?",
    "The bus was late.",
    "I need a break.",
    "Good morning.",
    "That film was boring.",
    "I can't find my glasses.",
    "The bread is mouldy.",
    "How long do lentils cook?",
    "It's getting dark early.",
)
_UPDATES: tuple[tuple[str, tuple[str, ...], tuple[str, ...], str, str], ...] = (
    (
        "My phone number at work is {v}.",
        ("four one seven", "two two nine", "eight zero six", "five five one", "nine three four"),
        ("They gave me a new number at work: {v}.", "At the office I can be reached under {v} from now on."),
        "What is my present number at the office?",
        "Which number did I have at work at first?",
    ),
    (
        "I keep the spare key {v}.",
        ("under the flower pot", "in the blue tin", "behind the drainpipe", "at the bakery", "in the shed"),
        ("I moved the spare key, it is {v} now.", "The spare key is better off {v}, so I put it there."),
        "Where is the spare key now?",
        "Where was the spare key before I moved it?",
    ),
    (
        "Piano lessons are on {v}.",
        ("Monday", "Tuesday", "Thursday", "Friday", "Saturday"),
        ("The piano teacher changed our day to {v}.", "From this month I play for the teacher on {v}."),
        "On which day do I have piano lessons these days?",
        "On which weekday were my piano lessons at first?",
    ),
    (
        "My tablets for the blood pressure are {v} milligrams.",
        ("five", "ten", "twenty", "two point five", "forty"),
        ("The doctor raised my tablets to {v} milligrams.", "My dose is {v} milligrams since today."),
        "How strong are the tablets I take now?",
        "What was my dose in the beginning?",
    ),
    (
        "We pay {v} euros rent.",
        ("seven hundred", "seven hundred fifty", "eight hundred ten", "nine hundred", "six hundred eighty"),
        ("The rent went up to {v} euros.", "From next month the landlord wants {v}."),
        "How much is the rent now?",
        "How much was our rent originally?",
    ),
    (
        "The book club meets at {v}'s place.",
        ("Rosa", "the library", "the pub", "Hedwig", "the vicar"),
        ("The book club has moved, we meet at {v}'s place now.", "Next time the reading group is with {v}."),
        "Where does the book club meet at present?",
        "Where did the book club meet in the beginning?",
    ),
)
_NEGATIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("I don't drink {v} any more.", "Which drink have I given up?", ("cola", "milk", "coffee", "beer")),
    (
        "I decided not to buy {v}.",
        "What did I decide against buying?",
        ("the red bicycle", "a caravan", "the corner house", "a drone"),
    ),
    (
        "{who} won't come to {v}.",
        "Who cancelled for {v}?",
        ("the wedding", "Christmas dinner", "the barbecue", "the housewarming"),
    ),
    (
        "I never want to go back to {v}.",
        "Which place do I refuse to visit again?",
        ("that steak house", "the sauna in Linz", "Camping Lido"),
    ),
    (
        "The doctor says I must not lift {v}.",
        "What am I forbidden to carry?",
        ("anything over ten kilos", "heavy boxes", "the children"),
    ),
    ("{who} can't stand {v}.", "What does {who} hate?", ("thunderstorms", "jazz", "cheese", "crowds", "spiders")),
    (
        "{who} didn't get {v}.",
        "What did {who} fail to get?",
        ("the scholarship", "the visa", "the allotment", "the promotion"),
    ),
)
_PLACES = (
    "Rome",
    "Vienna",
    "the Black Forest",
    "Ireland",
    "Venice",
    "Lake Garda",
    "Copenhagen",
    "the Tatra mountains",
)
_THERE = (
    (
        "We ate {v} at a tiny place by the bridge.",
        "What did I eat {there}?",
        ("artichokes", "duck", "fried anchovies", "dumplings"),
    ),
    (
        "I lost {v} on the way to the hotel.",
        "What did I lose {there}?",
        ("my umbrella", "my scarf", "one glove", "my sunglasses"),
    ),
    (
        "We met a couple from {v} and stayed up late.",
        "Where did the couple come from that I met {there}?",
        ("Quebec", "Iceland", "Peru"),
    ),
    (
        "I bought {v} on the square.",
        "What did I buy {there}?",
        ("a clay jug", "a wooden duck", "a print of a ship", "lace"),
    ),
)


class _World:
    def __init__(self, seed: int) -> None:
        self.draw = draw = Random(seed)  # noqa: S311 - a benchmark's dice
        self.story = Story(draw, START)
        names = draw.sample(_NAMES, 12)
        kin = draw.sample(_KIN, 7)
        self.people = [(names[i], kin[i]) for i in range(7)]
        self.people += [(names[7 + i], relation) for i, relation in enumerate(_FRIENDS)]

    def day(self) -> int:
        return self.draw.randrange(20, DAYS)

    def ok(self) -> str:
        return self.draw.choice(_OK)

    def small(self, most: int) -> list[tuple[str, str]]:
        return [(text, self.ok()) for text in self.draw.sample(_SMALL, self.draw.randrange(0, most + 1))]

    def who(self, person: tuple[str, str]) -> str:
        """A person as they are named in passing: mostly by name, at times only by relation."""
        return person[0] if self.draw.random() < 0.6 else f"my {person[1]}"

    def fitted(self, text: str, **slots: str) -> str:
        made = text.format(**slots)
        return made[0].upper() + made[1:]

    def introductions(self) -> None:
        for day, (name, relation) in enumerate(self.people):
            intro = self.draw.choice(("My {r} is called {n}.", "{n} is my {r}.", "I have a {r}, {n}.")).format(
                n=name, r=relation
            )
            self.story.session(day + 1, *self.small(2), (intro, self.ok()), *self.small(2))

    def facts(self) -> None:
        for what, (values, told, led, asks) in _FACTS.items():
            chosen = self.draw.sample(self.people, 7 if len(values) >= 7 else len(values))
            for person, value in zip(chosen, self.draw.sample(values, len(chosen)), strict=False):
                self.fact(person, value, f"{what}-{person[0]}", told, led, asks)
            if what in {"pet", "sport", "food"}:
                group = {
                    "pet": "animals do my people keep",
                    "sport": "sports are there in the family",
                    "food": "allergies do I have to think of",
                }
                for person in chosen:
                    self.several.setdefault(f"{what}-all", []).append(f"{what}-{person[0]}")
                self.asked_of_all.append((f"{what}-all", f"Which {group[what]}?"))

    several: dict[str, list[str]]
    asked_of_all: list[tuple[str, str]]

    def fact(self, person, value, key, told, led, asks) -> None:  # type: ignore[no-untyped-def]  # see facts
        group = key.split("-", maxsplit=1)[0] + "-all"
        keys = f"{key} {group}"
        style = self.draw.random()
        if style < 0.35:
            lead = self.draw.choice(
                ("I was on the phone with {who}.", "News from {who}.", "I met {who} this morning.")
            ).format(who=self.who(person))
            lines = [(lead, self.ok()), (self.draw.choice(led).format(v=value), self.ok(), keys)]
        else:
            lines = [(self.fitted(self.draw.choice(told), who=self.who(person), v=value), self.ok(), keys)]
        self.story.session(self.day(), *self.small(3), *lines, *self.small(3))
        asked_as = person[0] if self.draw.random() < 0.6 else f"my {person[1]}"
        self.story.ask("single", key, self.draw.choice(asks).format(who=asked_as), value)

    def updates(self) -> None:
        for number, (first, values, later, now, before) in enumerate(_UPDATES):
            old, new = self.draw.sample(values, 2)
            early, late = sorted(self.draw.sample(range(20, DAYS), 2))
            self.story.session(
                early, *self.small(3), (first.format(v=old), self.ok(), f"old{number}"), *self.small(2)
            )
            self.story.session(
                late,
                *self.small(2),
                (self.draw.choice(later).format(v=new), self.ok(), f"new{number}"),
                *self.small(3),
            )
            self.story.ask("update", f"new{number}", now, new)
            self.story.ask("update", f"old{number}", before, old)

    def negations(self) -> None:
        for number, (told, asked, values) in enumerate(_NEGATIONS):
            person, value = self.draw.choice(self.people), self.draw.choice(values)
            line = self.fitted(told, who=self.who(person), v=value)
            self.story.session(self.day(), *self.small(3), (line, self.ok(), f"not{number}"), *self.small(2))
            answer = person[0] if asked.startswith("Who") else value
            self.story.ask("negation", f"not{number}", asked.format(who=person[0], v=value), answer)

    def events(self) -> None:
        """Something on most days of the last months, of which some are asked for by their day."""
        for number in range(70):
            self.event(number, self.draw.randrange(DAYS - 200, DAYS - 1))

    def event(self, number: int, day: int) -> None:
        first, second, _ = self.draw.choice(_EVENTS)
        person = self.draw.choice(self.people)
        late = self.draw.random() < 0.25
        text = self.fitted(first, who=self.who(person))
        if late:
            text = f"Yesterday: {text[0].lower() if not text.startswith('I ') else text[0]}{text[1:]}"
        key = f"day{day} month{(START + timedelta(days=day)).month}"
        at = self.story.session(
            day + late, *self.small(1), (text, self.ok(), key), (second, self.ok()), *self.small(2)
        )
        self.days.setdefault(day, at - timedelta(days=late))

    days: dict[int, datetime]

    def asked_days(self) -> None:
        for day in self.draw.sample(sorted(self.days), 14):
            at, ago = START + timedelta(days=day), self.draw.randrange(1, 7)
            name = at.strftime("%A")
            now = at + timedelta(days=ago, hours=21)
            texts = [f"What did I do last {name}?", f"What happened on {name}?"]
            if ago == 1:
                texts = ["What did I do yesterday?", "What was going on yesterday?"]
            elif ago > 2:
                texts.append(f"What was I busy with {ago} days ago?")
            if self.draw.random() < 0.4:
                now = START + timedelta(days=DAYS)
                texts = [
                    f"What did I do on {at.strftime('%B')} {at.day}?",
                    f"What happened on the {_ordinal(at.day)} of {at.strftime('%B')}?",
                ]
            self.story.ask("time", f"day{day}", self.draw.choice(texts), at=now)

    def trips(self) -> None:
        for number, place in enumerate(self.draw.sample(_PLACES, 5)):
            day = 60 + number * 95 + self.draw.randrange(30)
            self.story.session(day - 20, (f"I booked a hotel in {place}.", self.ok()), *self.small(3))
            self.story.session(day, (f"We have arrived in {place}.", self.ok(), f"when{number}"), *self.small(2))
            for offset, (told, asked, values) in enumerate(self.draw.sample(_THERE, 2)):
                value, key = self.draw.choice(values), f"there{number}-{offset}"
                self.story.session(
                    day + 1 + offset,
                    *self.small(2),
                    (told.format(v=value), self.ok(), f"{key} trip{number}"),
                    *self.small(2),
                )
                self.story.ask("time", key, asked.format(there=f"when I was in {place}"), value)
            self.story.session(day + 4, ("Home again, the suitcase is still full.", self.ok()), *self.small(3))
            self.story.ask("time", f"when{number}", f"When was I in {place}?")
            self.story.ask("several", f"trip{number}", f"What did I do in {place}?")

    def chatter(self) -> None:
        for _ in range(60):
            self.story.session(
                self.day(), *[(text, self.ok()) for text in self.draw.sample(_SMALL, self.draw.randrange(3, 8))]
            )

    def build(self) -> Dialogue:
        self.several, self.asked_of_all, self.days = {}, [], {}
        self.introductions()
        self.facts()
        self.updates()
        self.negations()
        self.events()
        self.trips()
        self.chatter()
        self.asked_days()
        for key, text in self.asked_of_all:
            self.story.ask("several", key, text)
        return self.story.told(START + timedelta(days=DAYS, hours=12))


def _ordinal(day: int) -> str:
    return f"{day}{'th' if 10 < day < 14 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"


def dialogues(count: int = 6, seed: int = 1) -> list[Dialogue]:
    """`count` development dialogues."""
    return [_World(seed * 1000 + number).build() for number in range(count)]
