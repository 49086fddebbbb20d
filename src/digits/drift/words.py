"""Views and features of the drift test in plain words, for every table and picture of them."""

from collections.abc import Mapping

from digits.images import features

# view (`change.VIEWS`) → what it looks at
VIEWS: Mapping[str, str] = {
    "picture": "the picture",
    "network": "the network's view",
    "digits": "shares of the digits",
    "strangest": "strangest images",
}
_FEATURES: Mapping[str, tuple[str, str]] = {
    **features.WORDS,
    "doubt": ("how unsure the network is", "−7 sure, 0 unsure (log₁₀ of doubt)"),
    "strange picture": ("how unusual the picture is", "0: usual in every feature"),
    "strange to the network": ("how unlike others of its digit", "distance, to the network"),
}


def feature(name: str) -> tuple[str, str]:
    """A feature (`change.Scores.views`) in plain words, and its unit; the name if it is unknown."""
    if name in _FEATURES:
        return _FEATURES[name]
    kind, _, number = name.partition(" ")
    if kind == "digit":
        return f"how often {'an' if number == '8' else 'a'} {number} is read", "share of the images"
    if kind == "embedding":
        return f"what the network sees, aspect {number}", "place along this aspect"
    return name, ""
