"""The words that this project avoids, and how they are found in prose and in identifiers.

Imported by check_text.py. Only words that are nearly always wrong are listed: code that is
described as a person who is told things and gives answers is harder to follow than code that
returns values.
"""

import re

RETURN = "functions return, servers respond, headers contain, errors report"
NAME_THE_ACTOR = "name who acts: the caller, the driver, another process"

# A word or a phrase, in lower case, and what to write in its place.
AVOIDED = {
    "told": "say what happens: passed, returned, reported, recorded",
    "tell": f"{RETURN} (`tell apart` is fine)",
    "tells": f"{RETURN} (`tells apart` is fine)",
    "telling": RETURN,
    "answer": f"{RETURN}: the result, the response",
    "answers": f"{RETURN}: the results, the responses",
    "answered": RETURN,
    "answering": RETURN,
    "nobody": NAME_THE_ACTOR,
    "somebody": NAME_THE_ACTOR,
    "somebody else": NAME_THE_ACTOR,
    "whoever": NAME_THE_ACTOR,
    "whosoever": NAME_THE_ACTOR,
    "of ours": "say whose: of this driver, of this crate, of anystorage",
    "of theirs": "say whose",
    "in vain": "without effect, or say what is lost",
    "on the word of": "say which value is used and who sent it",
    "none the wiser": "say what is not noticed",
    "dear": "expensive",
    "dearer": "more expensive",
    "the whole of": "all of",
    "as it likes": "say what is allowed",
    "as it pleases": "say what is allowed",
    "believes": "code holds values: uses, accepts, assumes",
    "believed": "code holds values: used, accepted, assumed",
    "hears": "receives",
    "thereof": "of it",
    "anew": "again",
    "brings": "say what happens: contains, includes, requires, sends",
    "to be had": "say what is available",
    "lately": "recently",
    "lest": "so that ... does not",
    "came to pass": "occurred",
    "come to pass": "occur",
    "comes to pass": "occurs",
    "without a word": "without an error, without a message",
}

# How many words may stand between `tell` and the `apart` that makes it the phrase.
APART_WITHIN = 8

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\n")


def split_words(text):
    """Returns the words of a text, in lower case, each with its line number.

    An identifier counts as its parts: `answer_of` and `AnswerOf` are `answer`, `of`.
    """
    words, line = [], 1
    for match in WORD.finditer(text):
        if match[0] == "\n":
            line += 1
        else:
            words.append((match[0].lower(), line))
    return words


def find_avoided(text):
    """Returns each avoided word or phrase in a text, with its line number."""
    words = split_words(text)
    plain = [word for word, _ in words]
    found = []
    for position, (word, line) in enumerate(words):
        for phrase in PHRASES_BY_FIRST_WORD.get(word, []):
            if plain[position : position + len(phrase)] != phrase:
                continue
            following = plain[position + 1 : position + 2 + APART_WITHIN]
            if word in {"tell", "tells", "telling", "told"} and "apart" in following:
                continue
            found.append((" ".join(phrase), line))
            break
    return found


PHRASES_BY_FIRST_WORD = {}
for entry in sorted(AVOIDED, key=len, reverse=True):
    PHRASES_BY_FIRST_WORD.setdefault(entry.split()[0], []).append(entry.split())


def self_check():
    def words(text):
        return [word for word, _ in split_words(text)]

    def avoided(text):
        return [phrase for phrase, _ in find_avoided(text)]

    assert words("snake_case and CamelCase") == ["snake", "case", "and", "camel", "case"]
    assert words("HTTPServer S3_URL parseURL") == ["http", "server", "s", "url", "parse", "url"]
    assert split_words("one\ntwo")[1] == ("two", 2)
    assert avoided("fn answers_to(x: ToldOff)") == ["answers", "told"]
    assert avoided("none\n/// the wiser") == ["none the wiser"]
    assert avoided("a file of_ours, of OursOnly") == ["of ours", "of ours"]
    assert avoided("ETags tell versions apart; a retelling") == []
    assert avoided("an index (a deal, an endearing one)") == []
    assert avoided("somebody else saves") == ["somebody else"]


self_check()
