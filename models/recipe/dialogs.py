"""Every question that Pictor is trained and measured on, with its true answer.

scenes.py holds the first of them, which made the tokenizer. Here are the rest: questions about what is not
there, British spellings, pictures of nothing known, turns that refer to the one before, facts about Pictor
itself, and questions about a picture when there is none.
"""
import dataclasses

import scenes
from scenes import article, describe

NOTHING, NO_PICTURE = "I see nothing that I know.", "Show me a picture first."
MORE_CHAT = [("What are you?", "I am a tiny model that sees."),
             ("Hi!", "Hello! Show me a picture."),
             ("Thank you!", "You are welcome."),
             ("Goodbye!", "Goodbye!"),
             ("Are you a person?", "No, I am a tiny model."),
             ("How big are you?", "I have 2.9 million weights."),
             ("Who made you?", "A short recipe made me from nothing."),
             ("What objects do you know?",
              "I know balls, stars, hearts, moons, houses, trees, fish, boats, cups and keys."),
             ("What colors do you know?",
              "I know red, orange, yellow, green, blue, purple, pink, white, black and brown."),
             ("What colours do you know?",
              "I know red, orange, yellow, green, blue, purple, pink, white, black and brown."),
             ("Can you read?", "No, I can not read."),
             ("Can you count?", "I can count up to four objects."),
             ("What language do you speak?", "I speak a little English.")]
CHAT = scenes.CHAT + MORE_CHAT
KINDS_OF_QUESTION = ["describe", "where", "colour", "count", "what is at", "is there", "not there",
                     "nothing known", "follow-up", "chat", "no picture"]


@dataclasses.dataclass(frozen=True)
class Turn:
    """One question with its true answer; thing is the one object that it is about, if any."""
    kind: str
    question: str
    answer: str
    thing: object = None


def describe_turn(rng, objects):
    if not objects:
        return Turn("nothing known", rng.choice(scenes.DESCRIBE), NOTHING)
    only = objects[0] if len(objects) == 1 else None
    return Turn("describe", rng.choice(scenes.DESCRIBE), describe(objects), only)


def where_turn(rng, objects):
    thing = rng.choice(objects)
    return Turn("where", *scenes.ask_where(rng, objects, thing), thing)


def spelt(rng, question):
    """The question in American or British spelling."""
    return question.replace("color", "colour") if rng.random() < .4 else question


def colour_turn(rng, objects):
    thing = rng.choice(objects)
    question, answer = scenes.ask_colour(rng, objects, thing)
    return Turn("colour", spelt(rng, question), answer, thing)


def count_turn(rng, objects):
    if not objects:
        question = rng.choice(["How many objects are there?", "How many things do you see?"])
        return Turn("nothing known", question, "There are no objects.")
    return Turn("count", *scenes.ask_count(rng, objects, None))


def what_turn(rng, objects):
    """What is at a place: mostly one where something is."""
    if not objects:
        place = rng.choice(rng.choice(scenes.PLACES))
        return Turn("nothing known", f"What is {place}?", f"Nothing is {place}.")
    question, answer = scenes.ask_what(rng, objects, rng.choice(objects))
    found = [thing for thing in objects if question == f"What is {thing.place}?"]
    return Turn("what is at", question, answer, found[0] if found else None)


def absent_kind(rng, objects):
    return rng.choice([kind for kind in scenes.KINDS if kind not in {thing.kind for thing in objects}])


def whether_turn(rng, objects):
    if not objects:
        kind = rng.choice(scenes.KINDS)
        return Turn("nothing known", f"Is there {article(kind)} {kind}?", f"No, there is no {kind}.")
    thing = rng.choice(objects)
    kind = thing.kind if rng.random() < .5 else absent_kind(rng, objects)
    found = thing if kind == thing.kind else None
    answer = f"Yes, {thing.phrase} is {thing.place}." if found else f"No, there is no {kind}."
    return Turn("is there", f"Is there {article(kind)} {kind}?", answer, found)


def absent_turn(rng, objects):
    """A question that supposes what is not there."""
    kind = absent_kind(rng, objects)
    question = rng.choice([f"Where is the {kind}?", f"What color is the {kind}?",
                           f"What is the color of the {kind}?"])
    return Turn("not there" if objects else "nothing known", spelt(rng, question), f"There is no {kind}.")


def follow_up(rng, thing):
    """A question about `it`, the one thing that the turn before was about."""
    if rng.random() < .5:
        return Turn("follow-up", "Where is it?", f"The {thing.kind} is {thing.place}.", thing)
    return Turn("follow-up", spelt(rng, "What color is it?"), f"The {thing.kind} is {thing.colour}.", thing)


def chat_turn(rng):
    return Turn("chat", *rng.choice(CHAT))


ASKED = [(.18, where_turn), (.34, colour_turn), (.50, what_turn), (.65, whether_turn), (.76, count_turn),
         (.86, absent_turn), (1, describe_turn)]
ASKED_OF_NOTHING = [(.1, count_turn), (.2, what_turn), (.3, whether_turn), (.4, absent_turn),
                    (1, describe_turn)]


def picture_turn(rng, objects, before=None):
    """A turn about the picture; with a turn before it that was about one thing, often a follow-up."""
    if before is not None and before.thing is not None and rng.random() < .45:
        return follow_up(rng, before.thing)
    draw = rng.random()
    return next(ask for below, ask in (ASKED if objects else ASKED_OF_NOTHING) if draw < below)(rng, objects)


def make_dialog(rng, objects, n_turns, with_image=True, describe_share=.22):
    """-> n_turns turns. The first is a description more often than others; a few are small talk."""
    turns = []
    while len(turns) < n_turns:
        if not with_image:
            turn = chat_turn(rng)
            if rng.random() < .25:
                asked = picture_turn(rng, [scenes.SceneObject(rng.choice(scenes.KINDS), "red", 0, 0)])
                turn = Turn("no picture", asked.question, NO_PICTURE)
        elif rng.random() < .02:
            turn = chat_turn(rng)
        elif not turns and rng.random() < describe_share:
            turn = describe_turn(rng, objects)
        else:
            turn = picture_turn(rng, objects, turns[-1] if turns else None)
        turns.append(turn)
    return turns


def turn_of_kind(rng, objects, kind):
    """-> the turns of a dialog whose last is of that kind; None if these objects allow none."""
    plain = {"describe": describe_turn, "where": where_turn, "colour": colour_turn, "count": count_turn,
             "what is at": what_turn, "is there": whether_turn, "not there": absent_turn}
    if kind in plain:
        return [plain[kind](rng, objects)] if objects else None
    if kind == "nothing known":
        return None if objects else [picture_turn(rng, objects)]
    if kind == "chat":
        return [chat_turn(rng)]
    if kind == "no picture":
        return [turn for turn in make_dialog(rng, objects, 40, with_image=False) if turn.kind == kind][:1]
    if not objects:
        return None
    first = rng.choice([where_turn, colour_turn, whether_turn, what_turn])(rng, objects)
    return [first, follow_up(rng, first.thing)] if first.thing else turn_of_kind(rng, objects, kind)


def every_turn(objects):
    """Yields every question about a picture that is not a follow-up, with its true answer."""
    for question in scenes.DESCRIBE:
        yield Turn("describe", question, describe(objects))
    for question in ("How many objects are there?", "How many things do you see?"):
        yield Turn("count", question, scenes.count_answer(objects))
    by_kind = {thing.kind: thing for thing in objects}
    for kind in scenes.KINDS:
        thing = by_kind.get(kind)
        gone = f"There is no {kind}."
        yield Turn("where" if thing else "not there", f"Where is the {kind}?",
                   f"The {kind} is {thing.place}." if thing else gone)
        for spelling in ("color", "colour"):
            for question in (f"What {spelling} is the {kind}?", f"What is the {spelling} of the {kind}?"):
                yield Turn("colour" if thing else "not there", question,
                           f"The {kind} is {thing.colour}." if thing else gone)
        yield Turn("is there", f"Is there {article(kind)} {kind}?",
                   f"Yes, {thing.phrase} is {thing.place}." if thing else f"No, there is no {kind}.")
    by_place = {thing.place: thing for thing in objects}
    for place in [place for row in scenes.PLACES for place in row]:
        thing = by_place.get(place)
        yield Turn("what is at", f"What is {place}?",
                   f"{scenes.capitalised(thing.phrase)} is {place}." if thing else f"Nothing is {place}.")
