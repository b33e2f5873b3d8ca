"""What an emotion is, where faces come from, and how one is read: emotions, datasets, drawn faces, the classifier."""

import configs  # noqa: F401 - says what to type where this Python lacks the packages that the programs need
