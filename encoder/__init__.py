"""What an emotion is, where faces come from, and how one is read: emotions, datasets, drawn faces, the classifier."""
