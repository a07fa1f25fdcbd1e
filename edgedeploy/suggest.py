"""Says what a misspelt name was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(seen: str, allowed: Iterable[str]) -> str:
    """``"did you mean 'x'? "`` for the nearest of ``allowed``, or nothing; followed by the whole list."""
    import difflib  # slow to import, and needed only when something is wrong

    names = sorted(allowed)
    near = difflib.get_close_matches(seen, names, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}allowed: {', '.join(names)}" if names else f"{hint}there are none"
