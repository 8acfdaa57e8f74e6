"""The configs that come along, by name: from a checkout's conf/, or from the copy inside an installed wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).parent.parent
_PLACES = (_PACKAGE / "conf", _PACKAGE.parent / "conf")
CONF = next((place for place in _PLACES if place.is_dir()), _PLACES[0])
"""The folder where they are."""


def names() -> list[str]:
    """List them: `compress`, `logger/wandb`, and so on."""
    return sorted(str(path.relative_to(CONF).with_suffix("")) for path in CONF.rglob("*.yaml"))


def find(config: str) -> str:
    """Return where a config is: a file as it was given or, where there is none, the one of that name that comes along.

    Args:
        config: A path, or one of `names()`.

    Raises:
        ValueError: where a name without a suffix is neither.
    """
    if Path(config).suffix or Path(config).is_file():
        return config
    if config not in names():
        raise ValueError(f"config {config} is no file, nor one of those that come along: {', '.join(names())}")
    return str(CONF / f"{config}.yaml")
