"""What a misspelt word was likely meant to be: one wording for every message that names choices."""

import difflib
from collections.abc import Container, Iterable

_ALSO_CALLED = {
    "rounds": "aggregations", "num_rounds": "aggregations", "learning_rate": "lr", "clients_per_round": "cohort",
    "fraction": "share", "network": "link",
}  # fmt: skip


def synonym(word: str, choices: Container[str]) -> str | None:
    """The choice that others call `word`."""
    found = _ALSO_CALLED.get(word.casefold())
    return found if found in choices else None


def nearest(word: str, choices: Iterable[str], likeness: float = 0.6) -> str | None:
    """The choice that others call `word`, or else the one most like it, capitals apart first; None when none is so much
    like it."""
    choices = list(choices)
    if other := synonym(word, choices):
        return other
    folded = {choice.casefold(): choice for choice in choices}
    found = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=likeness)
    return folded[found[0]] if found else None


def advice(word: str, choices: Iterable[str]) -> str:
    """The end of an error message: "did you mean lte? (5g, lte, wifi)" or "choose one of 5g, lte"."""
    known = sorted(choices)
    if not known:
        return "there is nothing to choose from"
    guess, listed = nearest(word, known), ", ".join(known)
    return f"did you mean {guess}? ({listed})" if guess else f"choose one of {listed}"


def shown(value: object) -> str:
    """A value as its author wrote it in YAML: text in quotes, true, null; of a collection only its kind."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list | tuple) else repr(value)
